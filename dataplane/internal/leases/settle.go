package leases

import (
	"time"

	"ollama-api-pool/dataplane/internal/provider"
)

// Attempt is what came of a dispatched loan.
type Attempt struct {
	Model     string
	Verdict   provider.Verdict
	FirstByte time.Duration // until the first event or byte of body; 0: there was none
	Usage     provider.Usage
}

// Settle ends a loan: counts the attempt and acts on what it showed about the key. Exactly once per dispatched loan.
func (b *Book) Settle(l Loan, a Attempt) {
	l.end()
	l.room.Settle(a.Usage.Input + a.Usage.Output)
	b.countAttempt(l, a)
	b.judge(l, a.Model, a.Verdict)
}

// Probe asks for one check of a key, on behalf of the whole fleet.
type Probe struct {
	Loan     Loan
	Provider *provider.Provider
	TTL      time.Duration // after that the answer is no longer wanted
}

// Probes yields the checks that the control plane asks this node for. Each must be answered by Probed.
func (b *Book) Probes() <-chan Probe { return b.probes }

// Probed answers a probe. Probes are not counted as attempts; what they show is the control plane's to judge.
func (b *Book) Probed(l Loan, v provider.Verdict) {
	why := reasonOf(v.Class)
	switch {
	case v.Class == provider.OK:
		why = recovered
	case why == 0:
		why = localError // nothing was learnt
	}
	b.signals.add(signal{key: l.key.ID, generation: l.of.generation, reason: why, probe: true}, v)
}
