package server

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-api-pool/dataplane/internal/origin"
)

// street is where connections come from: the other end of a listener in memory.
type street struct {
	come    chan net.Conn
	shut    chan struct{}
	closing sync.Once
}

func newStreet() *street { return &street{come: make(chan net.Conn), shut: make(chan struct{})} }

func (s *street) Accept() (net.Conn, error) {
	select {
	case c := <-s.come:
		return c, nil
	case <-s.shut:
		return nil, net.ErrClosed
	}
}

func (s *street) Addr() net.Addr { return from("192.0.2.200:80") }

func (s *street) Close() error {
	s.closing.Do(func() { close(s.shut) })
	return nil
}

// from is the address of a connection in memory.
type from string

func (from) Network() string  { return "tcp" }
func (f from) String() string { return string(f) }

type addressed struct {
	net.Conn
	remote from
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

// party is a server behind a door, in a bubble.
type party struct {
	*door
	t      *testing.T
	street *street
}

// behindADoor runs a story with a server that answers "/" at once and "/wait" when the client leaves.
func behindADoor(t *testing.T, places int, trusted origin.Trusted, story func(*party)) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet()
		p := &party{newDoor(s, places, trusted), t, s}
		h := &http.Server{ConnState: p.note, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/wait" {
				<-r.Context().Done()
			}
		})}
		done := make(chan error)
		go func() { done <- serve(h, p.door) }()
		story(p)
		_ = h.Close()
		if err := <-done; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if n := p.Open(); n != 0 || len(p.from) != 0 {
			t.Errorf("in the end there are %d connections and %v", n, p.from)
		}
	})
}

// visitor is a client's end of a connection.
type visitor struct {
	net.Conn
	p  *party
	in *bufio.Reader
}

// visit connects and waits until the door has made up its mind or waits for a place.
func (p *party) visit(remote string) *visitor {
	p.t.Helper()
	near, far := net.Pipe()
	go func() {
		select {
		case p.street.come <- addressed{far, from(remote)}:
		case <-p.street.shut:
			_ = far.Close()
		}
	}()
	synctest.Wait()
	p.t.Cleanup(func() { near.Close() })
	return &visitor{near, p, bufio.NewReader(near)}
}

// ask sends a request; answered is false if there is no answer within a second.
func (v *visitor) ask(path string) (answered bool) {
	v.p.t.Helper()
	_ = v.SetDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(v, "GET "+path+" HTTP/1.1\r\nHost: pool\r\n\r\n"); err != nil {
		return false
	}
	resp, err := http.ReadResponse(v.in, nil)
	if err == nil {
		_ = resp.Body.Close()
	}
	synctest.Wait()
	time.Sleep(time.Millisecond) // so that no two have been idle for as long
	return err == nil
}

const friend = "198.51.100.1:5"

func TestWhenAllAreBusyANewcomerWaitsForAPlace(t *testing.T) {
	behindADoor(t, 2, nil, func(p *party) {
		a, b := p.visit("192.0.2.1:5"), p.visit("192.0.2.2:5")
		a.ask("/wait")
		b.ask("/wait")
		c := p.visit(friend)
		if c.ask("/") || p.Open() != 2 {
			t.Errorf("answered with all places taken; %d are open", p.Open())
		}
		_ = a.Close()
		synctest.Wait()
		if !c.ask("/") || p.Open() != 2 {
			t.Errorf("not answered with a place free; %d are open", p.Open())
		}
	})
}

func TestANewcomerTakesThePlaceOfWhoHasBeenIdleForLongest(t *testing.T) {
	behindADoor(t, 3, nil, func(p *party) {
		busy, old, recent := p.visit("192.0.2.1:5"), p.visit("192.0.2.2:5"), p.visit("192.0.2.3:5")
		busy.ask("/wait")
		if !old.ask("/") || !recent.ask("/") {
			t.Fatal("not answered")
		}
		if !p.visit(friend).ask("/") {
			t.Error("a newcomer is not answered though two are idle")
		}
		if p.evicted.Load() != 1 || p.Open() != 3 {
			t.Errorf("%d were closed, %d are open", p.evicted.Load(), p.Open())
		}
		if !recent.ask("/") || old.ask("/") {
			t.Error("not the one that had been idle for longest was closed")
		}
	})
}

// Who connects and says nothing is not idle: the server gives it five seconds for its headers.
func TestAWaitEndsWhenSomebodyBecomesIdle(t *testing.T) {
	behindADoor(t, 2, nil, func(p *party) {
		silent, b := p.visit("192.0.2.1:5"), p.visit("192.0.2.2:5")
		c := p.visit(friend)
		if c.ask("/") {
			t.Error("answered with all places taken")
		}
		if !b.ask("/") {
			t.Error("the one that had its place is not answered")
		}
		if !c.ask("/") || p.evicted.Load() != 1 {
			t.Errorf("the newcomer waits although one is idle; %d were closed", p.evicted.Load())
		}
		_ = silent.Close()
	})
}

func TestOneAddressGetsHalfOfThePlaces(t *testing.T) {
	trusted, err := origin.ParseTrusted([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		why   string
		names []string
		open  int
	}{
		{"one address", []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.1:4"}, 2},
		{"one address, written in two ways", []string{"192.0.2.1:1", "[::ffff:192.0.2.1]:2", "192.0.2.1:3"}, 2},
		{"one v6 network", []string{"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1"}, 2},
		{"different addresses", []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.4:1"}, 4},
		{"a trusted proxy", []string{"10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3", "10.0.0.1:4"}, 4},
		{"this machine", []string{"127.0.0.1:1", "127.0.0.1:2", "[::1]:3", "[::1]:4"}, 4},
		{"a connection in memory", []string{"pipe", "pipe", "pipe"}, 3},
	} {
		t.Run(row.why, func(t *testing.T) {
			behindADoor(t, 4, trusted, func(p *party) {
				answered := 0
				for _, name := range row.names {
					if p.visit(name).ask("/") {
						answered++
					}
				}
				if refused := p.refused.Load(); answered != row.open || int(refused) != len(row.names)-row.open {
					t.Errorf("%d were let in and %d refused, want %d in", answered, refused, row.open)
				}
			})
		})
	}
}

func TestWhoLeavesIsForgotten(t *testing.T) {
	behindADoor(t, 4, nil, func(p *party) {
		for range 20 {
			v := p.visit(friend)
			if !v.ask("/") {
				t.Fatal("not answered")
			}
			_ = v.Close()
			synctest.Wait()
		}
	})
}

func TestClosingEndsTheWaitForAPlace(t *testing.T) {
	behindADoor(t, 1, nil, func(p *party) {
		p.visit("192.0.2.1:5").ask("/wait")
		waiting := p.visit(friend)
		if !p.waiting.Load() {
			t.Error("nobody waits: this proves nothing")
		}
		_ = p.door.Close()
		synctest.Wait()
		if waiting.ask("/") {
			t.Error("answered by a closed door")
		}
	})
}

func TestConnections(t *testing.T) {
	const none = int64(1<<63 - 1)
	for _, row := range []struct {
		why         string
		descriptors uint64
		memory      int64
		want        int
	}{
		{"few descriptors", 256, none, 96},
		{"the usual", 20000, none, 9968},
		{"hardly any", 40, none, 16},
		{"no limit", 1<<64 - 1, none, 1 << 16},
		{"little memory", 20000, 64 << 20, 512},
		{"hardly any memory", 20000, 1 << 20, 16},
	} {
		if got := connections(row.descriptors, row.memory); got != row.want {
			t.Errorf("%s: %d, want %d", row.why, got, row.want)
		}
	}
}

func TestCountedNeverMixesUpNobodyAndSomebody(t *testing.T) {
	d := newDoor(newStreet(), 4, nil)
	if got := d.counted(from("@")); got != (netip.Prefix{}) {
		t.Errorf("no address counts as %v", got)
	}
	if got := d.counted(from("0.0.0.0:1")); got == (netip.Prefix{}) {
		t.Error("an address is not counted")
	}
}

func TestTheGateRefusesBeyondWhatFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		g := &gate{most: 2, next: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-leave })}
		answers := make(chan int, 3)
		for range 3 {
			go func() {
				w := &recorder{header: http.Header{}, status: 200}
				r, _ := http.NewRequest("GET", "/", nil)
				g.ServeHTTP(w, r)
				if w.status == 503 && (w.header.Get("Retry-After") != "1" || !strings.Contains(w.body.String(), `"code":"overloaded"`)) {
					t.Errorf("%v %s", w.header, w.body.String())
				}
				answers <- w.status
			}()
		}
		synctest.Wait()
		close(leave)
		got := map[int]int{<-answers: 1}
		got[<-answers]++
		got[<-answers]++
		if got[200] != 2 || got[503] != 1 || g.running.Load() != 0 {
			t.Errorf("%v, %d running", got, g.running.Load())
		}
	})
}

type recorder struct {
	header http.Header
	status int
	body   strings.Builder
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
