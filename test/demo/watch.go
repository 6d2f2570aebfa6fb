package main

import (
	"context"
	"fmt"
	"time"
)

// watch asks the control plane about its keys every second, and says what has changed.
type watch struct {
	op     *operator
	say    *voice
	labels map[string]string // by id
	before map[string]keyState
	away   time.Time // the control plane has not answered since; zero: it answers
	sent   tally     // when it went away
}

func (w *watch) look(ctx context.Context, now time.Time, clients tally) {
	keys, err := w.op.keys(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		w.lost(now, clients)
		return
	}
	w.found(now, clients)
	for _, k := range keys {
		if was, known := w.before[k.ID]; known && was.Status != k.Status {
			w.say.line("key", "'%s' %s", w.label(k.ID), became(was, k, now))
		}
		w.before[k.ID] = k
	}
}

// joined notes a key of the demo's own before anything can have happened to it.
func (w *watch) joined(k *scripted) {
	w.labels[k.id] = k.label
	w.before[k.id] = keyState{ID: k.id, Status: "active"}
}

// lost and found tell how the data planes do without the control plane.
func (w *watch) lost(now time.Time, clients tally) {
	if !w.away.IsZero() {
		return
	}
	w.away, w.sent = now, clients
	w.say.line("control", "the control plane does not answer; the data planes go on with the keys they hold")
}

func (w *watch) found(now time.Time, clients tally) {
	if w.away.IsZero() {
		return
	}
	w.say.line("control", "the control plane is back after %d s; meanwhile clients sent %s and saw %s",
		int(now.Sub(w.away).Seconds()), count(clients.requests-w.sent.requests, "request"), count(clients.errors()-w.sent.errors(), "error"))
	w.away = time.Time{}
}

func (w *watch) label(id string) string {
	if label, ok := w.labels[id]; ok {
		return label
	}
	return id // somebody else's, whose label may be anything
}

// became says in words what a key's new status means.
func became(was, is keyState, now time.Time) string {
	until := ""
	if !is.Until.IsZero() {
		until = when(is.Until, now)
	}
	switch is.Status {
	case "active":
		switch was.Status {
		case "cooling":
			return "is back: its time is over"
		case "auto_disabled", "suspect":
			return "is back: a probe was answered well"
		default:
			return "is back"
		}
	case "cooling":
		return fmt.Sprintf("is cooling (%s) until %s", is.Reason, until)
	case "suspect":
		return fmt.Sprintf("is suspect (%s), out of use; the other data plane asks once more", is.Reason)
	case "auto_disabled":
		return fmt.Sprintf("is now auto_disabled (%s) until %s, then a probe", is.Reason, until)
	case "disabled":
		return "was disabled by an operator"
	default:
		return "is " + is.Status
	}
}

// inUse counts keys by whether they serve.
func (w *watch) inUse() (active, cooling, out int) {
	for _, k := range w.before {
		switch k.Status {
		case "active":
			active++
		case "cooling":
			cooling++
		default:
			out++
		}
	}
	return active, cooling, out
}
