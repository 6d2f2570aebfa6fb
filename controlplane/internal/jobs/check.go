package jobs

import (
	"context"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/probe"
)

// Check is which keys are to be asked about.
type Check struct {
	Keys  []pool.Key
	Apply bool // the answers take effect
}

// Check asks upstreams about keys. A question that teaches nothing changes nothing, so that an outage puts no key out.
func (r *Runner) Check(ctx context.Context, what Check) (*Job, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	job := r.begin(KindCheck, !what.Apply, len(what.Keys))
	r.each(ctx, len(what.Keys), func(ctx context.Context, i int) (learnt bool) {
		return r.checkOne(ctx, what.Keys[i], what.Apply, &job.Results[i])
	}, func(i int) { r.skip(what.Keys[i], &job.Results[i]) })
	return r.end(ctx, job), nil
}

func (r *Runner) skip(k pool.Key, res *Result) {
	res.ID, res.Display = k.ID, k.Display
	res.Before = r.status(k)
	res.After = res.Before
	res.set(Unknown, NotTried)
}

func (r *Runner) checkOne(ctx context.Context, k pool.Key, apply bool, res *Result) (learnt bool) {
	r.skip(k, res)
	a, err := r.ask(ctx, k)
	if err != nil {
		return false
	}
	res.set(found[a.Finding], string(a.Reason))
	s, ok := a.Signal()
	if !ok {
		return false
	}
	if !apply {
		res.After = would(res.Before, a.Finding)
		return true
	}
	s.Key, s.Generation = k.ID, k.Generation
	res.Applied = r.pool.Checked(r.now(), s)
	res.After = r.status(k)
	return true
}

// ask asks, and asks once more before it calls a key rejected: one answer may be a mistake.
func (r *Runner) ask(ctx context.Context, k pool.Key) (probe.Answer, error) {
	of, ok := r.pool.Provider(k.Provider)
	if !ok {
		return probe.Answer{Reason: probe.Misconfigured}, nil
	}
	a, err := r.prober.Check(ctx, of, k.Secret)
	if err != nil || a.Finding != probe.Rejected {
		return a, err
	}
	return r.prober.Check(ctx, of, k.Secret)
}

var found = map[probe.Finding]Outcome{
	probe.Good: Valid, probe.Limited: Limited, probe.Rejected: Rejected, probe.Unknown: Unknown,
}

func (r *Runner) status(k pool.Key) pool.Status {
	v, ok := r.pool.KeyView(k.ID)
	if !ok { // deleted meanwhile
		v.Key = k
	}
	status, _, _ := pool.StatusAt(v.Key, v.Health, r.now())
	return status
}

// would answers the status that a key would have if the finding took effect. What an operator or the key's age decides
// stays, and a question that costs nothing ends no wait for a limit.
func would(before pool.Status, f probe.Finding) pool.Status {
	switch {
	case before == pool.StatusDisabled || before == pool.StatusExpired:
		return before
	case f == probe.Rejected:
		return pool.StatusAutoDisabled
	case f == probe.Limited:
		return pool.StatusCooling
	case f == probe.Good && before != pool.StatusCooling:
		return pool.StatusActive
	default:
		return before
	}
}
