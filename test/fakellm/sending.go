package fakellm

import (
	"errors"
	"net/http"
	"time"
)

// wait sleeps, or fails as soon as the client has left.
func (x *exchange) wait(d time.Duration) error {
	ctx := x.r.Context()
	if d <= 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send hands one piece of an unfinished answer to the network.
func (x *exchange) send(p []byte) error {
	if err := x.r.Context().Err(); err != nil {
		return err
	}
	x.keep(p)
	if _, err := x.w.Write(p); err != nil {
		return err
	}
	return x.flush()
}

// end sends the last piece of an answer, which may be nothing. Whether the client
// still takes it is not ours to know.
func (x *exchange) end(outcome string, p []byte) {
	if x.r.Context().Err() != nil {
		x.leave()
		return
	}
	x.keep(p)
	x.finish(outcome)
	_, _ = x.w.Write(p)
	_ = x.flush()
}

func (x *exchange) keep(p []byte) {
	if x.u.cfg.KeepBodies {
		x.sent.Write(p)
	}
}

func (x *exchange) flush() error {
	err := http.NewResponseController(x.w).Flush()
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// leave ends an exchange whose client has left. Merely returning would let
// net/http write an empty 200, which a half-closed client would take for an answer.
func (x *exchange) leave() {
	x.finish(Canceled)
	if x.r.Context().Value(http.ServerContextKey) != nil {
		panic(http.ErrAbortHandler)
	}
}

// cut ends an exchange by breaking the connection.
func (x *exchange) cut() {
	x.finish(Cut)
	panic(http.ErrAbortHandler)
}
