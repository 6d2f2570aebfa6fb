package system

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// As many streams at once as one node is to bear: every one gets every one of its events, in order, and none of another's.
// The longer suite has five thousand.
func TestProcessManySlowStreams(t *testing.T) {
	n, pause := 500, 200*time.Millisecond
	if os.Getenv("APIPOOL_TEST_FAULTS") != "" && !watchesRaces { // the detector bears eight thousand goroutines
		n, pause = 5000, time.Second
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if need := uint64(2*n + 300); limit.Max < need {
		t.Skipf("left out: %d descriptors are needed and the system allows %d", need, limit.Max)
	}
	f := processes(t, "eu-1@eu-west")
	s := &streamer{events: 10, pause: pause}
	f.stream(t, s)
	c := &crowd{fleet: f, node: "eu-1", token: f.addToken("streams"), streams: s}
	c.awaitStreams(t)
	before, memory := f.rest("eu-1"), f.nodes["eu-1"].resident(t)

	var events atomic.Int64
	var open, done sync.WaitGroup
	starting := make(chan struct{}, 64) // so that the system's queue of connections holds
	for i := range n {
		open.Add(1)
		done.Go(func() {
			name := fmt.Sprint("s-", i)
			starting <- struct{}{}
			opened := sync.OnceFunc(func() {
				<-starting
				open.Done()
			})
			defer opened()
			w, err := dial(f.port("eu-1"))
			if err == nil {
				defer w.Close()
				err = w.say(post("/streams/v1/chat/completions", c.token, askFor("count", name)))
			}
			if err == nil {
				_, err = readStream(w, name, s.events, func(number int) {
					if events.Add(1); number == 1 {
						opened()
					}
				})
			}
			if err != nil {
				t.Errorf("stream %s: %v", name, err)
			}
		})
	}
	open.Wait()
	if m := f.remains("eu-1"); m.inFlight != n || m.connections != n {
		t.Errorf("%+v with %d streams: this proves nothing", m, n)
	}
	figure(t, "none", "memory of a stream", "%d bytes (%d streams)", (f.nodes["eu-1"].resident(t)-memory)/int64(n), n)
	begin := time.Now()
	close(s.release)
	done.Wait()
	figure(t, "none", "slow streams", "%d streams, %d of %d events, the last after %v",
		n, events.Load(), n*s.events, time.Since(begin).Round(time.Millisecond))
	for name, times := range s.begun {
		if times != 1 && strings.HasPrefix(name, "s-") {
			t.Errorf("%s was sent to the upstream %d times", name, times)
		}
	}
	f.wantNothingLeft("eu-1", before)
	f.scan(c.token)
}

// readStream reads a stream to its end and holds each event against what must come next. seen is told of each.
func readStream(w *wire, name string, events int, seen func(int)) (next int, err error) {
	next = 1
	for ended := false; ; {
		_ = w.SetReadDeadline(time.Now().Add(60 * time.Second))
		text, err := w.in.ReadSlice('\n')
		if err != nil {
			return next, fmt.Errorf("after %d events: %w", next-1, err)
		}
		if from, number, ok := numberOf(text); ok {
			if from != name || number != next || ended {
				return next, fmt.Errorf("event %d of %s came, and %d of %s was to come", number, from, next, name)
			}
			next++
			seen(number)
		}
		if strings.Contains(string(text), "[DONE]") {
			ended = true
		}
		if string(text) == "0\r\n" { // the end of the chunks
			if !ended || next != events+1 {
				return next, fmt.Errorf("it ended after %d of %d events, done: %v", next-1, events, ended)
			}
			return next, nil
		}
	}
}
