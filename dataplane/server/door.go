package server

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ollama-api-pool/dataplane/internal/origin"
)

// door is a listener that lets in no more connections than the process can serve. When it is full, a newcomer takes the
// place of the connection that has been idle for longest; if none is idle, it waits, and all behind it in the system's
// queue. One address gets half of the places, so that it cannot keep all others out; trusted proxies and this machine are
// not one client and may have all.
//
// Only Accept's goroutine adds connections; whoever closes one takes it away.
type door struct {
	net.Listener
	places  int
	perAddr int
	trusted origin.Trusted

	waiting atomic.Bool   // Accept is waiting for a place
	room    chan struct{} // told, while Accept waits, that a place may have become free
	shut    chan struct{} // closed by Close
	closing sync.Once
	refused atomic.Uint64 // connections of addresses that had enough
	evicted atomic.Uint64 // idle connections that made room

	mu   sync.Mutex
	open map[*guest]struct{}  // guarded by mu
	from map[netip.Prefix]int // guarded by mu; connections of each address that is counted
}

func newDoor(l net.Listener, places int, trusted origin.Trusted) *door {
	return &door{
		Listener: l, places: places, perAddr: max(places/2, 1), trusted: trusted, room: make(chan struct{}, 1),
		shut: make(chan struct{}), open: map[*guest]struct{}{}, from: map[netip.Prefix]int{},
	}
}

// Accept answers the next connection for which there is a place.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g := &guest{Conn: c, door: d, from: d.counted(c.RemoteAddr())}
		for !d.enter(g) {
			if !d.makeRoom() {
				_ = c.Close()
				return nil, net.ErrClosed
			}
		}
		if g.turnedAway {
			_ = c.Close()
			continue
		}
		return g, nil
	}
}

// Close ends Accept too when it waits for a place.
func (d *door) Close() error {
	d.closing.Do(func() { close(d.shut) })
	return d.Listener.Close()
}

// counted answers as what an address is counted; the zero Prefix is not.
func (d *door) counted(remote net.Addr) netip.Prefix {
	addr := origin.Addr(remote.String())
	if addr.IsLoopback() || d.trusted.Contains(addr) {
		return netip.Prefix{}
	}
	return origin.Network(addr)
}

// enter gives a place, or turns away for good who has enough of them. false: there is none.
func (d *door) enter(g *guest) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if g.from.IsValid() && d.from[g.from] >= d.perAddr {
		g.turnedAway = true
		d.refused.Add(1)
		return true
	}
	if len(d.open) >= d.places {
		return false
	}
	d.open[g] = struct{}{}
	if g.from.IsValid() {
		d.from[g.from]++
	}
	return true
}

// makeRoom closes the connection that has been idle for longest, or waits until one is idle or gone. false: Close.
func (d *door) makeRoom() bool {
	d.waiting.Store(true) // before looking: who gets idle or leaves from now on tells
	defer d.waiting.Store(false)
	if d.evict() || d.Open() < d.places {
		return true
	}
	select {
	case <-d.room:
		return true
	case <-d.shut:
		return false
	}
}

func (d *door) evict() bool {
	g, since := d.idlest()
	if g == nil || !g.idle.CompareAndSwap(since, inUse) { // it has become busy
		return false
	}
	d.evicted.Add(1)
	_ = g.Close()
	return true
}

func (d *door) idlest() (idlest *guest, since int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for g := range d.open {
		if at := g.idle.Load(); at != inUse && (idlest == nil || at < since) {
			idlest, since = g, at
		}
	}
	return idlest, since
}

// Open answers how many connections there are.
func (d *door) Open() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.open)
}

// note is told by the server what its connections are doing.
func (d *door) note(c net.Conn, state http.ConnState) {
	if over, ok := c.(*tls.Conn); ok {
		c = over.NetConn()
	}
	g, ok := c.(*guest)
	if !ok {
		return
	}
	if state == http.StateIdle {
		g.idle.Store(time.Now().UnixNano())
		d.tell()
		return
	}
	g.idle.Store(inUse)
}

// tell lets Accept look again if it waits for a place.
func (d *door) tell() {
	if d.waiting.Load() {
		select {
		case d.room <- struct{}{}:
		default: // it has been told
		}
	}
}

func (d *door) leave(g *guest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, g)
	if !g.from.IsValid() {
		return
	}
	if d.from[g.from]--; d.from[g.from] == 0 {
		delete(d.from, g.from)
	}
}

// guest is a connection that has a place until it is closed.
type guest struct {
	net.Conn
	door       *door
	from       netip.Prefix // the zero one is not counted
	turnedAway bool
	idle       atomic.Int64 // since when, in Unix nanoseconds; inUse: not
	left       sync.Once
}

const inUse = 0

// Close gives the place back once the descriptor is free.
func (g *guest) Close() error {
	err := g.Conn.Close()
	g.left.Do(func() {
		g.door.leave(g)
		g.door.tell()
	})
	return err
}

// CloseWrite is what net/http ends a refused connection with, so that the client sees the answer and not a reset.
func (g *guest) CloseWrite() error {
	if half, ok := g.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
