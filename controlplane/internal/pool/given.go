package pool

import "context"

// Given waits, until ctx ends, for every connected node that may hold the key to have confirmed that it does. Keys come in bulk, behind
// everything urgent, and are in no Receipt.
func (p *Pool) Given(ctx context.Context, id KeyID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	in := map[*Session]uint64{} // the delta with which it was sent at the latest
	for !p.givenLocked(id, in) && p.waitLocked(ctx) {
	}
}

func (p *Pool) givenLocked(id KeyID, in map[*Session]uint64) bool {
	given := true
	for _, node := range p.sessionIDs {
		s := p.nodes[node].session
		if _, waits := s.keys[id]; waits {
			given = false
			continue
		}
		if in[s] == 0 {
			in[s] = s.deltaSeq
		}
		given = given && s.deltaAck >= in[s]
	}
	return given
}
