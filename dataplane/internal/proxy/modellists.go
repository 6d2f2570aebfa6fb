package proxy

import (
	"maps"
	"slices"
	"sync"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
)

const (
	listAge   = 5 * time.Minute  // for how long a list of models is good
	listRetry = 20 * time.Second // before an upstream that failed is asked again, while there is an old list to serve
)

// modelLists keeps each provider's list of models. An upstream is asked by one request at a time, and only for a client
// with a token; what it said last is served when it is in trouble.
type modelLists struct {
	mu   sync.Mutex // guards byID and what is in it
	byID map[string]*keptList
}

// keptList is what is kept of one provider. Its counts outlive the list.
type keptList struct {
	list         *modelList // nil: none, and nobody asks
	hits, misses uint64
}

// modelList is a list, or the question for one. Whoever asks has it in hand, and so have those who wait: once it is not the
// kept one any more, the answer is theirs alone.
type modelList struct {
	revision uint64
	listAnswer
	good    time.Time
	asking  chan struct{} // closed when the request that asks is done; nil: none does
	trouble *problem      // what the last one met
}

// listAnswer is what an upstream lists; immutable.
type listAnswer struct {
	body []byte // as OpenAI has it; nil: none yet
	raw  []byte // as the upstream wrote it
}

// get answers the list, and counts: a miss if this request has asked the upstream, a hit if it has a list without that,
// nothing if it could have neither.
func (ls *modelLists) get(x *exchange) (listAnswer, *problem) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	k := ls.byID[x.prov.ID]
	if k == nil {
		k = &keptList{}
		if ls.byID == nil {
			ls.byID = map[string]*keptList{}
		}
		ls.byID[x.prov.ID] = k
	}
	answer, prob := ls.findLocked(x, k)
	switch {
	case x.attempts > 0:
		k.misses++
	case answer.body != nil:
		k.hits++
	}
	return answer, prob
}

func (ls *modelLists) findLocked(x *exchange, k *keptList) (listAnswer, *problem) {
	l := k.list
	if l == nil || l.revision != x.prov.Revision {
		l = &modelList{revision: x.prov.Revision}
		k.list = l
	}
	if l.body != nil && x.p.now().Before(l.good) {
		return l.listAnswer, nil
	}
	if l.asking != nil {
		return ls.waitLocked(x, l)
	}
	return ls.askLocked(x, l)
}

// askLocked asks the upstream. The lock is free meanwhile; the request goes on if its client leaves, because others wait.
func (ls *modelLists) askLocked(x *exchange, l *modelList) (listAnswer, *problem) {
	l.asking = make(chan struct{})
	l.trouble = problemBusy // what the others are told if this panics
	answer, prob := func() (listAnswer, *problem) {
		ls.mu.Unlock()
		defer func() {
			ls.mu.Lock()
			close(l.asking)
			l.asking = nil
		}()
		return x.fetchModels()
	}()
	l.trouble = prob
	if prob == nil {
		l.listAnswer, l.good = answer, x.p.now().Add(listAge)
	} else if l.body != nil {
		l.good = x.p.now().Add(listRetry)
		prob = nil
	}
	return l.listAnswer, prob
}

// waitLocked waits for the request that asks. The lock is free meanwhile.
func (ls *modelLists) waitLocked(x *exchange, l *modelList) (listAnswer, *problem) {
	asking := l.asking
	ls.mu.Unlock()
	select {
	case <-asking:
	case <-x.r.Context().Done():
	}
	ls.mu.Lock()
	if l.body != nil {
		return l.listAnswer, nil
	}
	if l.trouble != nil {
		return listAnswer{}, l.trouble
	}
	return listAnswer{}, problemBusy
}

// forget drops the lists of these providers, of all if none is named. One that is being asked for is not kept, and requests
// from now on do not wait for it.
func (ls *modelLists) forget(providers []string) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for id, k := range ls.byID {
		if len(providers) == 0 || slices.Contains(providers, id) {
			k.list = nil
		}
	}
}

// kept answers what is kept, by provider, and drops what is of providers that are gone. Providers come and go by word of the
// control plane only, and it hears this with every heartbeat: so what is kept has a bound.
func (ls *modelLists) kept(gone func(id string) bool) []leases.CacheStatus {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	maps.DeleteFunc(ls.byID, func(id string, _ *keptList) bool { return gone(id) })
	list := make([]leases.CacheStatus, 0, len(ls.byID))
	for _, id := range slices.Sorted(maps.Keys(ls.byID)) {
		k := ls.byID[id]
		c := leases.CacheStatus{Provider: id, Hits: k.hits, Misses: k.misses}
		if k.list != nil && k.list.body != nil {
			c.Lists, c.Bytes = 1, uint64(len(k.list.body)+len(k.list.raw))
		}
		list = append(list, c)
	}
	return list
}
