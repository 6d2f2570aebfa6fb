package jobs

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"ollama-api-pool/controlplane/internal/probe"
)

const (
	askedChunk = 100 // keys that were found good are added in chunks of this size
	addEvery   = time.Second

	// giveUpAfter so many answers in a row that teach nothing, the upstream is taken for gone: the rest is not tried.
	giveUpAfter = 20
)

// examine asks the upstream about every key and adds the good ones as they are found.
func (r *Runner) examine(ctx context.Context, what Import, entries []*entry) {
	good := make(chan *entry)
	var adding sync.WaitGroup
	adding.Go(func() { r.collect(ctx, what, good) })
	r.each(ctx, len(entries), func(ctx context.Context, i int) (learnt bool) {
		e := entries[i]
		a, models, err := r.prober.Examine(ctx, what.Provider, e.line.Key)
		if err != nil {
			e.result.set(Failed, NotTried)
			return false
		}
		e.answer = a
		if a.Finding != probe.Good && a.Finding != probe.Limited {
			e.result.set(Failed, string(a.Reason))
			return a.Finding == probe.Rejected
		}
		e.result.Category, e.result.Reason = models.Category, string(a.Reason)
		good <- e
		return true
	}, func(i int) { entries[i].result.set(Failed, NotTried) })
	close(good)
	adding.Wait()
}

// collect adds good keys in chunks, or what there is of one when a second is over.
func (r *Runner) collect(ctx context.Context, what Import, good <-chan *entry) {
	tick := time.NewTicker(addEvery)
	defer tick.Stop()
	var waiting []*entry
	add := func() {
		if len(waiting) > 0 {
			r.add(ctx, what, waiting)
			waiting = nil
		}
	}
	for {
		select {
		case e, open := <-good:
			if !open {
				add()
				return
			}
			if waiting = append(waiting, e); len(waiting) == askedChunk {
				add()
			}
		case <-tick.C:
			add()
		}
	}
}

// each asks n questions, some at a time, and waits for all of them. It stops when ctx ends, or when too many in a row have
// taught nothing; skip is told of those that were not asked.
func (r *Runner) each(ctx context.Context, n int, ask func(ctx context.Context, i int) (learnt bool), skip func(i int)) {
	var next, vain atomic.Int64
	var running sync.WaitGroup
	for range min(workers, n) {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				switch {
				case ctx.Err() != nil || vain.Load() >= giveUpAfter:
					skip(i)
				case ask(ctx, i):
					vain.Store(0)
				default:
					vain.Add(1)
				}
			}
		})
	}
	running.Wait()
}
