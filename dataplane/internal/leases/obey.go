package leases

import (
	"ollama-api-pool/dataplane/internal/provider"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// applyHealth takes the control plane's word about keys, and answers those it is to probe.
func (b *Book) applyHealth(u *leasev1.HealthUpdate) []Probe {
	b.mu.Lock()
	defer b.mu.Unlock()
	var probes []Probe
	for _, w := range u.GetKeys() {
		id := KeyID(w.GetKeyId())
		if b.told != nil {
			b.told[id] = struct{}{}
		}
		h := b.healthOf(w)
		k := b.keys[id]
		if k == nil {
			b.early[id] = h
		} else {
			b.obeyLocked(k, h)
		}
		if w.GetCancelInFlight() && h.open { // also what began with a copy that is gone
			b.cutOff(id, h.revision)
		}
		if k == nil {
			continue
		}
		if p, ok := b.Provider(k.lease.Load().provider); ok && w.GetProbeHere() {
			ttl := w.GetProbeTtl().AsDuration()
			probes = append(probes, Probe{
				Loan: Loan{key: k, of: k.lease.Load(), probeUntil: b.now() + ttl}, Provider: p, TTL: ttl,
			})
		}
	}
	return probes
}

// healthOf reads the wire. A state that this node does not know is taken as out of use.
func (b *Book) healthOf(w *leasev1.KeyHealth) *health {
	h := &health{
		generation: w.GetGeneration(), revision: w.GetRevision(), reason: reason(w.GetReason()),
		open: true,
	}
	switch w.GetState() {
	case leasev1.KeyHealth_STATE_CLOSED:
		h.open = false
	case leasev1.KeyHealth_STATE_WATCHED:
		h.open, h.watched = false, true
	default:
		if w.GetOpenFor() != nil && h.reason.waiting() {
			h.until = b.now() + w.GetOpenFor().AsDuration()
			if w.GetExpectedIn() != nil {
				h.expected = b.now() + w.GetExpectedIn().AsDuration()
			}
		}
	}
	return h
}

// obeyLocked puts the control plane's word in force. Only one thing is stronger: what this node has just met itself and the
// control plane cannot have judged yet; it will, because it was signalled. Of a rejection it is told once more: had it been
// judged and acquitted already, and this node not heard of the first half, the key would stay out here for ever.
func (b *Book) obeyLocked(k *Key, told *health) {
	if !told.speaksOf(k.lease.Load()) { // late: it speaks of a secret or record that has been replaced
		return
	}
	now := k.state.Load()
	if now != nil && now.local && now.open && now.generation >= told.generation {
		if !told.open && !now.reason.soft() && (now.until == 0 || b.now() < now.until) {
			if now.reason == authRejected {
				b.signals.add(signal{key: k.ID, generation: now.generation, reason: authRejected}, provider.Verdict{})
			}
			return
		}
		if told.open && told.until != 0 && now.until > told.until { // a cool-down never shortens
			return
		}
	}
	k.state.Store(told)
	b.refreshLocked(k)
}

// openKeys answers what is held against keys by this node's own judgement, for Hello.
func (b *Book) openKeys() []*leasev1.KeyHealth {
	b.mu.Lock()
	defer b.mu.Unlock()
	var open []*leasev1.KeyHealth
	for id, k := range b.keys {
		h := k.state.Load()
		if h == nil || !h.local || !h.open || (h.until != 0 && h.until <= b.now()) {
			continue
		}
		w := &leasev1.KeyHealth{
			KeyId: uint64(id), Generation: h.generation, State: leasev1.KeyHealth_STATE_OPEN,
			Reason: leasev1.Reason(h.reason),
		}
		if h.until != 0 {
			w.OpenFor = durationOf(h.until - b.now())
		}
		open = append(open, w)
	}
	return open
}
