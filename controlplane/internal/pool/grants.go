package pool

import "time"

// Holding is what a node has of one limit.
type Holding struct {
	ID     LimitID
	Amount uint64
	Window uint64
}

// Grant is a node's share of one limit.
type Grant struct {
	ID     LimitID
	Amount uint64
	Floor  uint64
	Window uint64
}

// GrantUpdate tells a node its shares.
type GrantUpdate struct {
	Seq    uint64
	Grants []Grant
}

const grantsPerChunk = 1000 // about 30 KiB

// hasGrantsLocked says whether there are shares that can be told now.
func (s *Session) hasGrantsLocked() bool {
	for id := range s.grants {
		if l := s.pool.ledger.limits[id]; l == nil || l.safe() {
			return true
		}
	}
	return false
}

// grantsLocked tells shares. Those of budgets wait until the disk knows of them.
func (s *Session) grantsLocked() *GrantUpdate {
	s.grantSeq++
	u := &GrantUpdate{Seq: s.grantSeq}
	told := grantMark{seq: s.grantSeq}
	for id := range s.grants {
		if len(u.Grants) == grantsPerChunk {
			break
		}
		l := s.pool.ledger.limits[id]
		if l != nil && !l.safe() {
			continue
		}
		delete(s.grants, id)
		if l == nil {
			continue
		}
		sh := l.share(s.node.record.ID)
		if sh.told > sh.sent {
			s.grewSeq = s.grantSeq
		}
		sh.fresh, sh.seq, sh.sent = false, s.grantSeq, sh.told
		g := Grant{ID: id, Amount: sh.told, Floor: l.floorOf(sh.told)}
		if l.budget != nil {
			g.Window = l.budget.window
		}
		u.Grants = append(u.Grants, g)
		told.ids = append(told.ids, id)
	}
	s.grantMarks = append(s.grantMarks, told)
	s.pool.progressLocked()
	return u
}

// grantMark says which limits an update told of.
type grantMark struct {
	seq uint64
	ids []LimitID
}

// Holds takes which update of shares a node has applied, and what it still has of those that shrank. What it does not name is as
// the update says.
func (s *Session) Holds(now time.Time, applied uint64, list []Holding) {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.node.session != s || applied > s.grantSeq {
		return
	}
	s.grantAck = max(s.grantAck, applied)
	touched := map[LimitID]struct{}{}
	take := func(id LimitID, seq uint64, amount func(*share) uint64) {
		l := p.ledger.limits[id]
		if l == nil || l.shares[s.node.record.ID] == nil {
			return
		}
		sh := l.shares[s.node.record.ID]
		if sh.fresh || seq < sh.seq { // it does not know yet what it was told
			return
		}
		touched[id] = struct{}{}
		sh.held = max(sh.told, amount(sh))
	}
	for _, h := range list {
		l := p.ledger.limits[h.ID]
		if l != nil && (l.budget == nil || l.budget.window == h.Window) {
			take(h.ID, applied, func(*share) uint64 { return h.Amount })
			touched[h.ID] = struct{}{}
		}
	}
	for len(s.grantMarks) > 0 && s.grantMarks[0].seq <= applied {
		for _, id := range s.grantMarks[0].ids {
			if _, named := touched[id]; !named {
				take(id, s.grantMarks[0].seq, func(sh *share) uint64 { return sh.told })
			}
		}
		s.grantMarks = s.grantMarks[1:]
	}
	for id := range touched {
		p.settleLocked(now, p.ledger.limits[id])
	}
	p.progressLocked()
}
