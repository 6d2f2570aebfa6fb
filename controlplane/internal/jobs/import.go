package jobs

import (
	"context"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/probe"
	"ollama-api-pool/controlplane/internal/store"
)

const chunk = 500 // keys added in one transaction

// Import is what is to be added.
type Import struct {
	Provider   pool.Provider
	Lines      []Line
	ExpireTime time.Time // of all keys; zero: never
	Validate   bool      // ask the upstream about each key first, and add the good ones only
	DryRun     bool      // change nothing
}

// entry is a line on its way.
type entry struct {
	line   Line
	result *Result
	answer probe.Answer // with Validate
}

// Import adds keys. The error is ctx's, from before anything was done, or the store's if it cannot be read.
func (r *Runner) Import(ctx context.Context, what Import) (*Job, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	job := r.begin(KindImport, what.DryRun, len(what.Lines))
	fresh, err := r.sift(what, job)
	if err != nil {
		return nil, err
	}
	if what.Validate {
		r.examine(ctx, what, fresh)
	} else {
		for len(fresh) > 0 {
			n := min(len(fresh), chunk)
			r.add(ctx, what, fresh[:n])
			fresh = fresh[n:]
		}
	}
	return r.end(ctx, job), nil
}

// sift settles the lines that need no adding, and answers the others.
func (r *Runner) sift(what Import, job *Job) ([]*entry, error) {
	var fresh []*entry
	seen := map[[32]byte]bool{}
	err := r.store.View(func(tx *store.Tx) error {
		for i, l := range what.Lines {
			res := &job.Results[i]
			res.Line, res.Display = l.Number, l.Display
			if l.Fault != "" {
				res.set(Invalid, l.Fault)
				continue
			}
			if seen[l.digest] {
				res.set(Duplicate, "")
				continue
			}
			seen[l.digest] = true
			switch there, err := settleKnown(tx, l.Key, what.Provider.ID, res); {
			case err != nil:
				return err
			case !there:
				fresh = append(fresh, &entry{line: l, result: res})
			}
		}
		return nil
	})
	return fresh, err
}

// settleKnown settles a key that is in the pool already.
func settleKnown(tx *store.Tx, key pool.Secret, of pool.ProviderID, res *Result) (there bool, err error) {
	id, there := tx.KeyBySecret(key)
	if !there {
		return false, nil
	}
	k, err := tx.Key(id)
	if err != nil {
		return true, err
	}
	if k.Provider != of {
		res.set(Failed, OtherProvider)
		return true, nil
	}
	res.ID = id
	res.set(Duplicate, "")
	return true, nil
}

// add adds a chunk, whole or not at all. It is done even if the caller hangs up: what was found good stays.
func (r *Runner) add(ctx context.Context, what Import, entries []*entry) {
	if what.DryRun {
		for _, e := range entries {
			e.result.set(Added, e.result.Reason)
		}
		return
	}
	if ctx.Err() != nil && !what.Validate {
		for _, e := range entries {
			e.result.set(Failed, NotTried)
		}
		return
	}
	results := make([]Result, len(entries)) // kept only if the transaction happens
	keys := make([]pool.Key, len(entries))
	_, err := r.store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		for i, e := range entries {
			results[i] = *e.result
			var err error
			if keys[i], err = addOne(tx, what, e, &results[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.log.ErrorContext(ctx, "a chunk of an import failed", "keys", len(entries), "cause", err)
		for _, e := range entries {
			e.result.set(Failed, StoreUnavailable)
		}
		return
	}
	for i, e := range entries {
		*e.result = results[i]
		r.hold(keys[i], e.answer)
	}
}

// addOne adds a key, unless it has come another way meanwhile.
func addOne(tx *store.Tx, what Import, e *entry, res *Result) (pool.Key, error) {
	if there, err := settleKnown(tx, e.line.Key, what.Provider.ID, res); there || err != nil {
		return pool.Key{}, err
	}
	if _, err := tx.Provider(what.Provider.ID); err != nil { // deleted meanwhile
		return pool.Key{}, err
	}
	k, err := tx.PutKey(pool.Key{
		Provider: what.Provider.ID, Secret: e.line.Key, Display: e.line.Display, Label: e.line.Label, Weight: 1,
		ExpireTime: what.ExpireTime, Category: res.Category,
	})
	if err != nil {
		return pool.Key{}, err
	}
	res.ID = k.ID
	res.set(Added, res.Reason)
	return k, nil
}

// hold has a new key wait if the upstream knows it but does not serve it now.
func (r *Runner) hold(k pool.Key, a probe.Answer) {
	if s, ok := a.Signal(); ok && k.ID != 0 && a.Finding == probe.Limited {
		s.Key, s.Generation = k.ID, k.Generation
		r.pool.Checked(r.now(), s)
	}
}
