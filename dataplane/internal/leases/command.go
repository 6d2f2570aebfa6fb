package leases

import leasev1 "ollama-api-pool/gen/pool/lease/v1"

// do does what an operator wants done. What this version does not know is confirmed all the same: nobody is to wait for it.
func (s *session) do(c *leasev1.NodeCommand) {
	switch {
	case c.GetClearCache() != nil:
		if s.link.cfg.ClearCaches != nil {
			s.link.cfg.ClearCaches(c.GetClearCache().GetProviderIds())
		}
	case c.GetDrainNode() != nil:
		s.told = true
		s.link.drain(c.GetDrainNode().GetDrain())
	case c.GetEvict() != nil:
		s.link.evict()
	}
	s.applied.command.Store(c.GetCommandSeq())
	s.wake()
}

// undrained ends a drain that this session has not spoken of until its sync was complete: an operator has ended it while the
// node was away.
func (s *session) undrained() {
	if !s.told {
		s.told = true
		s.link.drain(false)
	}
}

func (l *Link) drain(yes bool) {
	if l.drained.Swap(yes) == yes {
		return
	}
	if yes {
		l.log.Info("draining because an operator wants it: no new requests are taken, running ones finish", "in_flight", l.book.InFlight())
	} else {
		l.log.Info("an operator has ended the drain: requests are taken again")
	}
}

// evict forgets everything at once. The confirmation may still go out; then the control plane ends the session, and Run with it.
func (l *Link) evict() {
	l.evicted.Store(true)
	l.book.wipe()
	l.log.Error("evicted: everything that was leased is wiped, and nothing is served any more")
}
