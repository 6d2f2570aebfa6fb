package stats

import (
	"fmt"
	"slices"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// table holds the committed rows. The collector's lock guards it.
type table struct {
	keys      map[pool.KeyID]*keyTotals
	tokens    map[pool.TokenID]*tokenTotals
	providers map[pool.ProviderID]*providerTotals
	models    map[modelName]*RequestCounts
}

type keyTotals struct {
	counts AttemptCounts
	last   lastTimes
	hours  keyHours
}

type tokenTotals struct {
	counts RequestCounts
	last   lastTimes
}

type providerTotals struct {
	attempts AttemptCounts
	requests RequestCounts
	hours    map[uint32]*providerHour
}

type providerHour struct {
	attempts AttemptCounts
	requests RequestCounts
}

// lastTimes are Unix seconds; 0: never.
type lastTimes struct{ used, success, failure int64 }

// see notes that total, success and failure events ended at a time.
func (l *lastTimes) see(at time.Time, total, success, failure uint64) {
	s := at.Unix()
	if total > 0 {
		l.used = max(l.used, s)
	}
	if success > 0 {
		l.success = max(l.success, s)
	}
	if failure > 0 {
		l.failure = max(l.failure, s)
	}
}

func newTable() table {
	return table{
		keys: map[pool.KeyID]*keyTotals{}, tokens: map[pool.TokenID]*tokenTotals{},
		providers: map[pool.ProviderID]*providerTotals{}, models: map[modelName]*RequestCounts{},
	}
}

// add adds a row. It fails on rows that this release cannot have written.
func (t table) add(d Row) error {
	r, err := d.Key.parse()
	if err != nil {
		return err
	}
	counts, last := t.at(r)
	if r.kind == rowKeyHour {
		c := hourCell{hour: r.hour}
		if len(d.Counts) > len(c.counts) {
			return fmt.Errorf("row %q: has %d counts", string(d.Key), len(d.Counts))
		}
		copy(c.counts[:], d.Counts)
		t.key(pool.KeyID(r.id)).hours.add(c)
		return nil
	}
	if len(d.Counts) > len(counts) {
		return fmt.Errorf("row %q: has %d counts", string(d.Key), len(d.Counts))
	}
	add(counts, d.Counts)
	if last != nil {
		last.used, last.success, last.failure = max(last.used, d.Used), max(last.success, d.Success), max(last.failure, d.Failure)
	}
	return nil
}

// at answers where a row's counts and times are, having made the row if need be. A key's hours are not there: see keyHours.
func (t table) at(r row) ([]uint64, *lastTimes) {
	switch r.kind {
	case rowKey:
		k := t.key(pool.KeyID(r.id))
		return k.counts[:], &k.last
	case rowToken:
		k := entry(t.tokens, pool.TokenID(r.id))
		return k.counts[:], &k.last
	case rowProvider:
		return t.provider(r.provider).attempts[:], nil
	case rowProviderRequests:
		return t.provider(r.provider).requests[:], nil
	case rowModel:
		return entry(t.models, modelName{r.provider, r.model})[:], nil
	case rowProviderHour:
		return entry(t.provider(r.provider).hours, r.hour).attempts[:], nil
	case rowRequestHour:
		return entry(t.provider(r.provider).hours, r.hour).requests[:], nil
	}
	return nil, nil
}

// read answers a row as it is to be stored, and whether it is there.
func (t table) read(key RowKey) (Row, bool) {
	r, err := key.parse()
	if err != nil || !t.has(r) {
		return Row{}, false
	}
	if r.kind == rowKeyHour {
		c, found := t.keys[pool.KeyID(r.id)].hours.at(r.hour)
		return Row{Key: key, Counts: slices.Clone(c.counts[:])}, found
	}
	counts, last := t.at(r)
	out := Row{Key: key, Counts: slices.Clone(counts)}
	if last != nil {
		out.Used, out.Success, out.Failure = last.used, last.success, last.failure
	}
	return out, true
}

func (t table) has(r row) bool {
	switch r.kind {
	case rowKey, rowKeyHour:
		return t.keys[pool.KeyID(r.id)] != nil
	case rowToken:
		return t.tokens[pool.TokenID(r.id)] != nil
	case rowModel:
		return t.models[modelName{r.provider, r.model}] != nil
	}
	p := t.providers[r.provider]
	if p == nil || r.kind == rowProvider || r.kind == rowProviderRequests {
		return p != nil
	}
	return p.hours[r.hour] != nil
}

func (t table) key(id pool.KeyID) *keyTotals { return entry(t.keys, id) }

func (t table) provider(id pool.ProviderID) *providerTotals {
	p := entry(t.providers, id)
	if p.hours == nil {
		p.hours = map[uint32]*providerHour{}
	}
	return p
}

// expire forgets providers' hours before one. Keys forget theirs as new ones come.
func (t table) expire(oldest uint32) {
	for _, p := range t.providers {
		for h := range p.hours {
			if h < oldest {
				delete(p.hours, h)
			}
		}
	}
}

func entry[K comparable, V any](m map[K]*V, k K) *V {
	v := m[k]
	if v == nil {
		v = new(V)
		m[k] = v
	}
	return v
}
