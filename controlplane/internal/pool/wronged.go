package pool

import "time"

// A provider whose own login is broken rejects good keys, and any node's probe confirms it. Then keys are not put away for an hour
// but asked about again soon, each at longer intervals the longer it lasts; and as soon as one of them is taken, the others come
// next.

const (
	wrongedPart = 20        // a key that has been out for so long is asked about after a part of that
	wrongedMost = time.Hour // at the latest
	pardonEvery = time.Second
)

// rejectedLocked puts a key away that a node's probe has found to be rejected.
func (p *Pool) rejectedLocked(now time.Time, k *keyState) {
	h := Health{Phase: AutoOff, Reason: AuthRejected, Until: now.Add(p.backoff(AuthRejected, k.health.Ejections)), Ejections: k.health.Ejections + 1}
	k.wronged = false
	pr := p.providers[k.key.Provider]
	if pr == nil {
		p.setLocked(now, k, h)
		return
	}
	pr.rejects(now, k.key.ID)
	if !pr.rejectsMost(now) {
		p.setLocked(now, k, h)
		return
	}
	p.wrongedLocked(now, k, h)
	for id := range pr.rejected { // those that were put away before it could be told
		if other := p.keys[id]; other != nil && other.health.Phase == AutoOff && other.health.Reason == AuthRejected && !other.wronged {
			p.wrongedLocked(now, other, other.health)
		}
	}
}

// wrongedLocked has a key asked about again soon that is put away for what is its provider's fault.
func (p *Pool) wrongedLocked(now time.Time, k *keyState, h Health) {
	wait := min(max(retryProbe, now.Sub(k.since)/wrongedPart), wrongedMost)
	h.Until, h.Ejections = now.Add(wait), max(h.Ejections-1, 0)
	k.wronged = true
	p.setLocked(now, k, h)
}

// acceptedLocked notes that the provider took a key. If it had rejected most of them, the others are asked about now.
func (p *Pool) acceptedLocked(now time.Time, k *keyState) {
	pr := p.providers[k.key.Provider]
	if pr == nil {
		return
	}
	delete(pr.rejected, k.key.ID)
	if !k.wronged || now.Sub(pr.pardoned) < pardonEvery {
		return
	}
	pr.pardoned = now
	for _, other := range p.out {
		if other != k && other.wronged && other.key.Provider == k.key.Provider && other.health.Until.After(now) {
			h := other.health
			h.Until = now
			p.setLocked(now, other, h)
		}
	}
}

// rejects notes that the provider rejected a key.
func (pr *providerState) rejects(now time.Time, id KeyID) {
	if pr.rejected == nil {
		pr.rejected = map[KeyID]time.Time{}
	}
	pr.rejected[id] = now
}

// rejectsMost says whether the provider rejects so many of the keys in use that it must be the provider: three of them, and half.
func (pr *providerState) rejectsMost(now time.Time) bool {
	pr.window.forget(now)
	for id, at := range pr.rejected {
		if now.Sub(at) > lieSpan {
			delete(pr.rejected, id)
		}
	}
	served := 0
	for id := range pr.window.served {
		if _, rejected := pr.rejected[id]; !rejected {
			served++
		}
	}
	return len(pr.rejected) >= blameKeys && len(pr.rejected) >= served
}
