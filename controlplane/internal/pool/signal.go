package pool

import "time"

// Signal is one fact about a key that a node met, in its traffic or by a probe.
type Signal struct {
	Key        KeyID
	Generation uint64
	Reason     Reason
	RetryAfter time.Duration // what the upstream said; 0: nothing
	HTTPStatus int           // of the upstream; 0: none
	Count      int           // times in a row since the node's last signal; 0 counts as 1
	Probe      bool          // the answer to a probe that the node was asked for
}

// How long things last when the upstream does not say.
const (
	firstRateWait  = 5 * time.Second  // doubling
	maxRateWait    = 10 * time.Minute // per rate limit
	firstQuotaWait = time.Hour        // doubling
	firstAuthWait  = time.Hour        // doubling
	maxWait        = 24 * time.Hour   // of the doubling ones
	longestWait    = 35 * 24 * time.Hour
	retryProbe     = 30 * time.Second // after a probe that taught nothing
)

// Signal judges what a node met. It answers nothing: what follows reaches the nodes through their sessions.
func (p *Pool) Signal(now time.Time, from NodeID, s Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.keys[s.Key]
	if k == nil || s.Generation != k.key.Generation {
		return
	}
	p.metLocked(now, from, s)
	if s.Probe {
		p.probedLocked(now, from, k, s)
		return
	}
	if !p.believedLocked(now, from, k, s) {
		if s.Reason == QuotaExhausted { // another node may say the same
			p.nodes[from].reportsSpent(now, k, p.spentWait(k, s))
		}
		return
	}
	switch {
	case s.Reason == Recovered:
		p.recoveredLocked(now, k)
	case s.Reason.soft():
		p.strikeLocked(now, k, s)
	case s.Reason == AuthRejected && (k.health.Usable() || k.health.Phase == Cooling):
		if n := p.nodes[from]; n != nil && p.accusedLocked(n) >= maxAccused {
			n.claim(k)
			return
		}
		p.accuseLocked(now, k, from)
	case s.Reason == RateLimited || s.Reason == QuotaExhausted:
		if s.Reason == QuotaExhausted && !p.spentLocked(now, from, k, s) {
			return
		}
		p.coolLocked(now, k, s)
	}
}

// recoveredLocked ends a row of failures. A success that was under way when the key was put out does not bring it back.
func (p *Pool) recoveredLocked(now time.Time, k *keyState) {
	if !k.health.Usable() || (k.health.Strikes == 0 && k.health.Ejections == 0) {
		return
	}
	p.setLocked(now, k, Health{Phase: Healthy})
}

// strikeLocked counts a failure by the key's own fault.
func (p *Pool) strikeLocked(now time.Time, k *keyState, s Signal) {
	pr := p.providers[k.key.Provider]
	if !k.health.Usable() || pr == nil || pr.blamed {
		return
	}
	p.proveLocked(now, k, pr)
	h := k.health
	h.Phase, h.Reason, h.Strikes = Watched, s.Reason, h.Strikes+max(s.Count, 1)
	p.setLocked(now, k, h)
	if k.alone.IsZero() && !pr.window.othersServe(now, k.key.ID) {
		k.alone = now
	}
	p.ejectLocked(now, k, pr)
}

// proveLocked holds a key's strikes only if other keys served within the window around them. While none do it may be the
// provider that fails, too seldom to be blamed: without this the first success after it would be proof against all the rest.
func (p *Pool) proveLocked(now time.Time, k *keyState, pr *providerState) {
	switch {
	case k.alone.IsZero():
	case now.Sub(k.alone) >= windowCells*time.Second:
		h := k.health
		h.Strikes = 0
		p.setLocked(now, k, h)
	case pr.window.othersServe(now, k.key.ID):
		k.alone = time.Time{}
	}
}

// ejectLocked puts a key out whose strikes are full, if there is proof that it is the key and not the provider: other keys
// serve, and not too many are out already.
func (p *Pool) ejectLocked(now time.Time, k *keyState, pr *providerState) {
	p.proveLocked(now, k, pr)
	if k.health.Phase != Watched || k.health.Strikes < pr.provider.Strikes {
		return
	}
	if pr.blamed || !pr.window.othersServe(now, k.key.ID) || (pr.softOut+1)*2 > pr.keys {
		return
	}
	h := k.health
	h.Phase, h.Until, h.Ejections = AutoOff, now.Add(pr.provider.EjectFor), h.Ejections+1
	p.setLocked(now, k, h)
}

// accuseLocked takes a key out of use that a node has met a rejection with, until another one has looked.
func (p *Pool) accuseLocked(now time.Time, k *keyState, by NodeID) {
	if pr := p.providers[k.key.Provider]; pr != nil {
		pr.rejects(now, k.key.ID)
	}
	if h := k.health; h.Phase == Cooling {
		k.pause = k.pause.orLater(pause{h.Reason, h.Until})
	}
	k.accuser, k.asked, k.probe = by, by, probe{}
	if n := p.nodes[by]; n != nil {
		n.accuses(k.key.ID)
	}
	p.setLocked(now, k, Health{Phase: Suspect, Reason: AuthRejected, Until: now, Ejections: k.health.Ejections})
	p.askLocked(now, k)
}

// clearedLocked ends what is held against a key, but for a limit that it or its account has still to wait for.
func (p *Pool) clearedLocked(now time.Time, k *keyState) {
	left := k.pause.orLater(p.accountsPauseLocked(now, k.key))
	k.pause, k.wronged = pause{}, false
	if left.holds(now) {
		p.setLocked(now, k, Health{Phase: Cooling, Reason: left.reason, Until: left.until})
		return
	}
	p.setLocked(now, k, Health{Phase: Healthy})
}

// coolLocked waits for a limit or quota to pass. A key that is out for a worse reason stays out for it, and waits afterwards. The
// keys of its account wait as long, because the upstream counts them together; each one's wait is stored with the key itself.
func (p *Pool) coolLocked(now time.Time, k *keyState, s Signal) {
	h := k.health
	wait := s.RetryAfter
	ejections := h.Ejections
	if wait <= 0 {
		if h.Phase == Cooling && !s.Probe { // the same storm, told by another node
			return
		}
		wait = p.backoff(s.Reason, ejections)
		ejections++
	}
	until := now.Add(min(wait, longestWait))
	switch {
	case h.Phase == Suspect || h.Phase == AutoOff:
		k.pause = k.pause.orLater(pause{s.Reason, until})
	case h.Phase == Cooling && !until.After(h.Until):
		return
	default:
		k.probe, k.vain = probe{}, 0 // what it would be answered is known
		p.setLocked(now, k, Health{Phase: Cooling, Reason: s.Reason, Until: until, Strikes: h.Strikes, Ejections: ejections})
	}
	for _, sibling := range p.siblingsLocked(k.key) {
		p.coolWithLocked(now, sibling, pause{s.Reason, until}, ejections)
	}
}

// backoff answers how long to wait the n-th time in a row when the upstream does not say.
func (p *Pool) backoff(r Reason, n int) time.Duration {
	n = min(n, 20)
	switch r {
	case RateLimited:
		return time.Duration(float64(min(firstRateWait<<n, maxRateWait)) * p.cfg.jitter())
	case QuotaExhausted:
		return min(firstQuotaWait<<n, maxWait)
	default:
		return min(firstAuthWait<<n, maxWait)
	}
}

// probedLocked takes the answer of a probe. One that comes from a node that was not asked, or too late, is dropped: another
// node may have been asked since.
func (p *Pool) probedLocked(now time.Time, from NodeID, k *keyState, s Signal) {
	if k.probe.node != from {
		return
	}
	k.probe = probe{}
	if s.Reason == AuthRejected && p.nodes[from].distrusted {
		s.Reason = LocalError
	}
	p.verdictLocked(now, from, k, s)
	switch {
	case s.Reason == AuthRejected && k.health.Reason != AuthRejected: // nobody has said so before: another one has to look
		p.accuseLocked(now, k, from)
		return
	case k.health.Phase == Cooling:
		p.cooledLocked(now, k, s)
		return
	}
	if p.learnedLocked(now, k, s) {
		return
	}
	h := k.health
	h.Until = now.Add(retryProbe)
	if s.Reason.soft() && h.Reason.soft() {
		h.Until, h.Ejections = now.Add(p.ejectFor(k.key.Provider)), h.Ejections+1
	}
	p.setLocked(now, k, h)
}

// learnedLocked takes what a question to the upstream taught about the key itself; false: nothing.
func (p *Pool) learnedLocked(now time.Time, k *keyState, s Signal) bool {
	h := k.health
	switch s.Reason {
	case Recovered:
		p.acceptedLocked(now, k)
		p.clearedLocked(now, k)
	case AuthRejected:
		p.rejectedLocked(now, k)
	case RateLimited, QuotaExhausted: // the upstream knows the key: it is good, only not now
		p.acceptedLocked(now, k)
		if !h.Usable() && h.Phase != Cooling { // what it was out for is refuted
			p.clearedLocked(now, k)
		}
		p.coolLocked(now, k, s)
	default:
		return false
	}
	return true
}

// Checked takes what an operator's own question about a key was answered, and says whether it changed anything. It counts
// like a probe's answer, whoever is probing: whatever the upstream said before, it said this later. What is no fact about
// the key changes nothing, so that a check during an outage puts no key out.
func (p *Pool) Checked(now time.Time, s Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.keys[s.Key]
	if k == nil || s.Generation != k.key.Generation {
		return false
	}
	before := k.health
	known := s.Reason == Recovered && (before.Phase == Healthy || before.Phase == Cooling) || // a free question ends no limit
		s.Reason == AuthRejected && before.Phase == AutoOff && before.Reason == AuthRejected
	if known || !p.learnedLocked(now, k, s) {
		return false
	}
	k.probe = probe{}
	return k.health != before
}

func (p *Pool) ejectFor(id ProviderID) time.Duration {
	if pr := p.providers[id]; pr != nil {
		return pr.provider.EjectFor
	}
	return DefaultEjectFor
}

// setLocked is the only place where what is held against a key changes. A restriction is told at once; a permission is told
// when Saved says that it is on disk.
func (p *Pool) setLocked(now time.Time, k *keyState, h Health) {
	h.Key, h.Generation = k.key.ID, k.key.Generation
	before := k.health
	if h.Phase != before.Phase {
		k.since = now
	}
	if h.Strikes == 0 {
		k.alone = time.Time{}
	}
	k.health = h
	if h.Phase != before.Phase && (!h.Usable() || !before.Usable()) {
		p.changedLocked(now, k)
	}
	p.indexLocked(k)
	p.unsaved[h.Key] = struct{}{}
	if h.Usable() && !k.told.Usable() {
		return
	}
	p.tellLocked(k)
}

// tellLocked lets every node that holds the key hear its health.
func (p *Pool) tellLocked(k *keyState) {
	k.told = k.health
	p.urgent++
	p.eachSessionLocked(func(s *Session) {
		if s.mayHold(k.key, time.Time{}) {
			s.health[k.key.ID] = struct{}{}
			s.wake()
		}
	})
}

// Unsaved answers the health that is not on disk yet.
func (p *Pool) Unsaved() []Health {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]Health, 0, len(p.unsaved))
	for id := range p.unsaved {
		h := Health{Key: id}
		if k := p.keys[id]; k != nil {
			h = k.health
		}
		list = append(list, h)
	}
	return list
}

// Saved is told what has reached the disk. What changed meanwhile stays unsaved; permissions that are safe now are told.
func (p *Pool) Saved(list []Health) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range list {
		k := p.keys[h.Key]
		if k == nil {
			delete(p.unsaved, h.Key)
			continue
		}
		if k.health != h {
			continue
		}
		delete(p.unsaved, h.Key)
		if k.told != h {
			p.tellLocked(k)
		}
	}
}
