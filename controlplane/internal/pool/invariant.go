package pool

import "testing"

// checkLocked asserts the rule of the ledger: no decision takes more than the limit has, and none makes an excess worse that came
// from outside, when a limit was lowered or a node came back from behind a cut.
func (p *Pool) checkLocked(l *limit, before uint64) {
	if out := l.outLocked(); out > max(l.most, before) {
		p.brokenLocked("more of a limit is given out than there is")
	}
	for _, s := range l.shares {
		if s.held < s.told {
			p.brokenLocked("a node is taken to hold less than it was told")
		}
	}
}

// brokenLocked tells of an invariant that does not hold. In tests that is the end; otherwise it is counted, and the pool goes on
// with what restricts more.
func (p *Pool) brokenLocked(what string) {
	if testing.Testing() {
		panic(what)
	}
	p.violations++
	if p.cfg.Broken != nil {
		p.cfg.Broken(what)
	}
}

// Violations answers how many invariants were found broken since the start; there is no way for it to be more than 0.
func (p *Pool) Violations() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.violations
}
