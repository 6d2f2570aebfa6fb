package pool

import "time"

// Event is one thing in a key's history: a failure that a node met, what a probe was answered, or a change of status. None
// holds anything that an upstream or a client said.
type Event struct {
	Key        KeyID
	Time       time.Time
	Node       NodeID // who told; empty: it was no node's doing
	Reason     Reason
	HTTPStatus int       // of the upstream; 0: none
	Count      int       // failures it stands for
	Probe      bool      // the answer to a probe
	Status     Status    // from now on; empty: it is not about a change
	Until      time.Time // when the status may end by itself; zero: it will not
}

// What is kept until somebody takes it. A storm of failures is told by its first ones: history is for people.
const (
	maxEvents      = 2000
	maxEventsOfOne = 10
)

// history is what has happened since it was last taken.
type history struct {
	events []Event
	of     map[KeyID]int
}

func (h *history) add(e Event) {
	if len(h.events) >= maxEvents || h.of[e.Key] >= maxEventsOfOne {
		return
	}
	if h.of == nil {
		h.of = map[KeyID]int{}
	}
	h.of[e.Key]++
	h.events = append(h.events, e)
}

// TakeEvents answers what has happened since the last call.
func (p *Pool) TakeEvents() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	events := p.history.events
	p.history = history{}
	return events
}

// metLocked notes what a node told about a key.
func (p *Pool) metLocked(now time.Time, from NodeID, s Signal) {
	if !s.Probe && (s.Reason == Recovered || s.Reason == LocalError) {
		return
	}
	p.history.add(Event{
		Key: s.Key, Time: now, Node: from, Reason: s.Reason, HTTPStatus: s.HTTPStatus, Count: max(s.Count, 1), Probe: s.Probe,
	})
}

// changedLocked notes the status that a key has from now on.
func (p *Pool) changedLocked(now time.Time, k *keyState) {
	status, _, until := StatusAt(k.key, k.health, now)
	e := Event{Key: k.key.ID, Time: now, Status: status, Until: until}
	switch status {
	case StatusDisabled:
		e.Reason = Admin
	case StatusCooling, StatusSuspect, StatusAutoDisabled:
		e.Reason = k.health.Reason
	case StatusActive, StatusExpired:
	}
	p.history.add(e)
}
