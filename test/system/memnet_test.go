package system

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// memnet is a network in memory: names instead of addresses, and links that can be cut.
type memnet struct {
	mu    sync.Mutex
	at    map[string]*listener
	cut   map[string]bool          // from→to
	deaf  map[string]bool          // from→to
	mute  map[string]bool          // from→to
	lag   map[string]time.Duration // from→to
	conns map[string][]net.Conn
}

func newMemnet() *memnet {
	return &memnet{
		at: map[string]*listener{}, cut: map[string]bool{}, deaf: map[string]bool{}, mute: map[string]bool{}, lag: map[string]time.Duration{},
		conns: map[string][]net.Conn{},
	}
}

// listen opens a name; one that was closed can be opened again.
func (n *memnet) listen(name string) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := newListener()
	n.at[name] = l
	return l
}

// dialer answers how `from` reaches others.
func (n *memnet) dialer(from string) func(ctx context.Context, address string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		n.mu.Lock()
		l, cut := n.at[address], n.cut[from+"→"+address]
		n.mu.Unlock()
		if l == nil || cut {
			return nil, errors.New("connection refused")
		}
		c, err := l.dial(ctx)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		n.conns[from+"→"+address] = append(n.conns[from+"→"+address], c)
		return &ear{Conn: c, net: n, link: from + "→" + address}, nil
	}
}

// sever closes what is open between two names and lets nothing new through, until mend.
func (n *memnet) sever(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[from+"→"+to] = true
	for _, c := range n.conns[from+"→"+to] {
		_ = c.Close()
	}
	delete(n.conns, from+"→"+to)
}

// deafen loses whatever `to` answers from now on, while what `from` says still arrives, until mend.
func (n *memnet) deafen(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deaf[from+"→"+to] = true
}

// slow has every piece of what `to` answers take a while from now on, until mend.
func (n *memnet) slow(from, to string, lag time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lag[from+"→"+to] = lag
}

// silence loses whatever `from` says from now on, while what `to` says still arrives, until mend.
func (n *memnet) silence(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mute[from+"→"+to] = true
}

func (n *memnet) mend(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cut, from+"→"+to)
	delete(n.deaf, from+"→"+to)
	delete(n.lag, from+"→"+to)
	delete(n.mute, from+"→"+to)
}

// ear is the dialling end of a connection.
type ear struct {
	net.Conn
	net  *memnet
	link string
}

func (e *ear) Read(b []byte) (int, error) {
	for {
		count, err := e.Conn.Read(b)
		e.net.mu.Lock()
		deaf, lag := e.net.deaf[e.link], e.net.lag[e.link]
		e.net.mu.Unlock()
		time.Sleep(lag)
		if err != nil || !deaf {
			return count, err
		}
	}
}

func (e *ear) Write(b []byte) (int, error) {
	e.net.mu.Lock()
	mute := e.net.mute[e.link]
	e.net.mu.Unlock()
	if mute {
		return len(b), nil
	}
	return e.Conn.Write(b)
}
