package pool

import "time"

// The provider is blamed when at least half of at least ten attempts on at least three keys failed within ten seconds.
const (
	windowCells   = 10 // of a second
	blameAttempts = 10
	blameKeys     = 3
	pardonSpan    = 30 * time.Second // soft ejections this young are undone when the provider is blamed
)

// providerState is a provider with what its keys met of late.
type providerState struct {
	provider Provider
	keys     int // it has
	softOut  int // of them out for soft reasons
	window   window
	rejected map[KeyID]time.Time // when it last rejected a key
	blamed   bool
	asked    map[KeyID]struct{} // keys that it is being asked about; see turns.go
	pardoned time.Time          // when those that it has wronged were last put first
}

// window counts attempts of the last ten seconds by the second. It is fed by outcome reports, which hold successes too.
type window struct {
	cells  [windowCells]cell
	served map[KeyID]time.Time // last success
	failed map[KeyID]time.Time // last soft failure
}

type cell struct {
	second    int64
	good, bad uint64
}

func (w *window) add(now time.Time, key KeyID, good, bad uint64) {
	second := now.Unix()
	c := &w.cells[second%windowCells]
	if c.second != second {
		*c = cell{second: second}
	}
	c.good += good
	c.bad += bad
	if w.served == nil {
		w.served, w.failed = map[KeyID]time.Time{}, map[KeyID]time.Time{}
	}
	if good > 0 {
		w.served[key] = now
	}
	if bad > 0 {
		w.failed[key] = now
	}
}

// failing says whether the counts of the window blame the provider.
func (w *window) failing(now time.Time) bool {
	var good, bad uint64
	for _, c := range w.cells {
		if now.Unix()-c.second < windowCells {
			good, bad = good+c.good, bad+c.bad
		}
	}
	w.forget(now)
	return good+bad >= blameAttempts && bad >= good && len(w.failed) >= blameKeys
}

// othersServe says whether another key than this one served within the window.
func (w *window) othersServe(now time.Time, key KeyID) bool {
	for id, at := range w.served {
		if id != key && now.Sub(at) < windowCells*time.Second {
			return true
		}
	}
	return false
}

func (w *window) forget(now time.Time) {
	for id, at := range w.failed {
		if now.Sub(at) >= windowCells*time.Second {
			delete(w.failed, id)
		}
	}
	for id, at := range w.served { // how many keys are used is asked over a longer time
		if now.Sub(at) > lieSpan {
			delete(w.served, id)
		}
	}
}

// Observation is what one node's report says of one key: how many attempts the upstream answered as it should (the client's
// own mistakes included), and how many failed softly.
type Observation struct {
	Key       KeyID
	Good, Bad uint64
	Served    uint64    // of the good ones, those that were answered in full
	Node      NodeID    // who met it
	SealedAt  time.Time // when it was counted, by this control plane's clock
}

// Observe takes outcome reports. They are the proof for and against a provider: signals tell failures only.
func (p *Pool) Observe(now time.Time, seen []Observation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	touched := map[*providerState]struct{}{}
	doubted := p.doubtedLocked()
	for _, o := range seen {
		k := p.keys[o.Key]
		if k == nil {
			continue
		}
		if pr := p.providers[k.key.Provider]; pr != nil {
			pr.window.add(now, o.Key, o.Good, o.Bad)
			touched[pr] = struct{}{}
		}
		if o.Served > 0 {
			p.servedLocked(now, k, o, doubted)
		}
	}
	for pr := range touched {
		p.judgeProviderLocked(now, pr)
	}
	for _, k := range p.out { // proof that was missing when a key's strikes became full
		if pr := p.providers[k.key.Provider]; pr != nil {
			p.ejectLocked(now, k, pr)
		}
	}
}

// judgeProviderLocked blames or acquits a provider. Blame undoes what its keys were blamed for meanwhile.
func (p *Pool) judgeProviderLocked(now time.Time, pr *providerState) {
	was := pr.blamed
	pr.blamed = pr.window.failing(now)
	if was || !pr.blamed {
		return
	}
	for _, k := range p.out {
		if k.key.Provider != pr.provider.ID || !k.health.Reason.soft() {
			continue
		}
		if k.health.Phase == Watched || (k.health.Phase == AutoOff && now.Sub(k.since) < pardonSpan) {
			k.probe = probe{}
			p.clearedLocked(now, k)
		}
	}
}
