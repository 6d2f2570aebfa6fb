package pool

import "time"

// Outgoing is the next thing a node must hear: health of keys, something to be done, shares of limits, or a delta of resources;
// one of them is set.
type Outgoing struct {
	Health  *HealthUpdate
	Grants  *GrantUpdate
	Command *Command
	Delta   *Delta
}

// HealthUpdate tells the state of keys.
type HealthUpdate struct {
	Seq  uint64
	Keys []KeyState
}

// KeyState is what a node is to do with a key.
type KeyState struct {
	Key        KeyID
	Revision   uint64
	Generation uint64
	Open       bool // not to be used
	Watched    bool // in use, but the next success is to be told at once
	Reason     Reason
	OpenFor    time.Duration // 0: until told
	ExpectedIn time.Duration // until it may be in use again; 0: not known
	ProbeHere  bool
	ProbeTTL   time.Duration
	Cut        bool // what is under way with it is to end
}

// Delta changes what a node holds.
type Delta struct {
	Seq              uint64
	CompleteRevision uint64 // not 0: with this delta the node holds everything up to it
	Keys             []Key
	KeysDisabled     []bool // beside Keys: an operator's disable is in force
	Tokens           []Token
	Providers        []Provider
	RemovedKeys      []KeyID
	RemovedKeysCut   []bool // beside RemovedKeys: what is under way with it is to end
	RemovedTokens    []TokenID
	RemovedProviders []ProviderID
}

// Next answers what to send now, latest state first: health, then commands, shares, then what is gone and tokens and providers, then
// keys in chunks. Nil: nothing, or the window of unconfirmed chunks is full; Wake fires when that changes.
func (s *Session) Next(now time.Time) *Outgoing {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.node.session != s {
		return nil
	}
	switch {
	case len(s.health) > 0:
		return s.sentLocked(&Outgoing{Health: s.healthLocked(now)})
	case s.hasCommandLocked():
		return s.sentLocked(&Outgoing{Command: s.commandLocked()})
	case s.hasGrantsLocked():
		return &Outgoing{Grants: s.grantsLocked()}
	case len(s.removed)+len(s.tokens)+len(s.providers) > 0:
		return s.sentLocked(&Outgoing{Delta: s.smallLocked()})
	case len(s.keys) > 0 && len(s.bulk) < bulkWindow:
		return s.sentLocked(&Outgoing{Delta: s.bulkLocked(now)})
	case len(s.keys) == 0 && !s.complete:
		s.deltaSeq++
		return s.sentLocked(&Outgoing{Delta: &Delta{Seq: s.deltaSeq}})
	}
	return nil
}

// sentLocked notes what a confirmation of this message will mean.
func (s *Session) sentLocked(o *Outgoing) *Outgoing {
	p := s.pool
	if o.Delta != nil && len(s.keys) == 0 && s.toldLocked() {
		o.Delta.CompleteRevision = p.revision
		s.complete = true
	}
	if s.toldLocked() {
		m := mark{urgent: p.urgent, delta: s.deltaSeq, health: s.healthSeq, command: s.commandSeq}
		if o.Delta != nil {
			m.revision = o.Delta.CompleteRevision
		}
		s.marks = append(s.marks, m)
	}
	return o
}

// toldLocked says whether everything urgent has been sent; keys in bulk are not.
func (s *Session) toldLocked() bool {
	return len(s.health)+len(s.removed)+len(s.tokens)+len(s.providers) == 0 && !s.hasCommandLocked()
}

func (s *Session) healthLocked(now time.Time) *HealthUpdate {
	p := s.pool
	p.healthSeq++
	s.healthSeq = p.healthSeq
	u := &HealthUpdate{Seq: p.healthSeq, Keys: make([]KeyState, 0, min(len(s.health), healthPerChunk))}
	for id := range s.health {
		if len(u.Keys) == healthPerChunk {
			break
		}
		delete(s.health, id)
		if k := p.keys[id]; k != nil {
			u.Keys = append(u.Keys, s.stateLocked(now, k))
		}
	}
	return u
}

// stateLocked answers what this node is to do with a key. The operator's will goes before what traffic shows.
func (s *Session) stateLocked(now time.Time, k *keyState) KeyState {
	st := KeyState{Key: k.key.ID, Revision: k.key.Revision, Generation: k.key.Generation}
	switch h := k.told; {
	case k.key.DisabledAt(now):
		st.Open, st.Reason, st.Cut = true, Admin, k.key.Cut
	case h.Usable():
		st.Watched, st.Reason = h.Phase == Watched, h.Reason
	case h.Phase == Cooling:
		st.Open, st.Reason = true, h.Reason
		st.ExpectedIn = max(h.Until.Sub(now), time.Millisecond)
		st.OpenFor = max(h.Until.Sub(now), k.probe.until.Sub(now), 0) + reentryMargin
	default:
		st.Open, st.Reason = true, h.Reason
	}
	if st.Open && st.Reason != Admin && k.probe.node == s.node.record.ID && k.probe.runs(now) && !k.probe.told {
		k.probe.told = true
		st.ProbeHere, st.ProbeTTL = true, k.probe.until.Sub(now)
	}
	return st
}

func (s *Session) smallLocked() *Delta {
	p := s.pool
	s.deltaSeq++
	d := &Delta{Seq: s.deltaSeq}
	for id := range s.removed {
		d.RemovedKeys = append(d.RemovedKeys, id)
		_, cut := p.cut[id]
		d.RemovedKeysCut = append(d.RemovedKeysCut, cut)
	}
	for id := range s.tokens {
		if len(d.Tokens)+len(d.RemovedTokens) == tokensPerDelta {
			break
		}
		delete(s.tokens, id)
		if t, ok := p.tokens[id]; ok {
			d.Tokens = append(d.Tokens, t)
		} else {
			d.RemovedTokens = append(d.RemovedTokens, id)
		}
	}
	for id := range s.providers {
		if pr, ok := p.providers[id]; ok {
			d.Providers = append(d.Providers, pr.provider)
		} else {
			d.RemovedProviders = append(d.RemovedProviders, id)
		}
	}
	clear(s.removed)
	clear(s.providers)
	return d
}

func (s *Session) bulkLocked(now time.Time) *Delta {
	p := s.pool
	s.deltaSeq++
	d := &Delta{Seq: s.deltaSeq}
	for id := range s.keys {
		if len(d.Keys) == keysPerDelta {
			break
		}
		delete(s.keys, id)
		if k := p.keys[id]; k != nil && s.mayHold(k.key, now) {
			d.Keys = append(d.Keys, p.withBounds(k.key))
			d.KeysDisabled = append(d.KeysDisabled, k.key.DisabledAt(now))
		}
	}
	s.bulk = append(s.bulk, s.deltaSeq)
	return d
}
