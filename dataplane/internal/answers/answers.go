// Package answers keeps whole answers for a while, so that the same question of the same asker needs no upstream. It is for
// operators who say that the same question may have the same answer; nothing is kept unless they do.
//
// A Question's Key is what "the same" means: nothing that could change an answer is left out of it. Get answers what is kept,
// or a Miss, which is the right to Put what the upstream then says:
//
//	key, ok := question.Key()            // not ok: not to be kept
//	answer, miss := cache.Get(key, now)  // answer nil: ask the upstream
//	cache.Put(miss, answer, ttl, now)
//
// Two askers of the same question at the same time both ask the upstream. One of them waiting for the other would make the
// other's failure, its slow upstream or its hanging up its own, and its retries could not be counted as its own any more: that
// is a high price for an answer that is there a moment later anyway.
//
// What is kept is in memory only and bounded: the answers not asked for longest go first. When the process dies it is gone, and
// nothing but hits is lost.
package answers

import (
	"bytes"
	"slices"
	"strings"
	"time"
)

const (
	maxShards = 16  // so that requests seldom meet at a lock
	roomy     = 4   // how many of the largest answers a shard has room for, or there are fewer shards
	overhead  = 288 // bytes that an answer takes beside its body: the entry, its place in the table, its content type's end
)

// Config makes a Cache.
type Config struct {
	MaxBytes  int64 // of memory, what comes with an answer included; default 64 MiB
	MaxAnswer int64 // bytes of one answer, its content type included; a larger one is not kept; default 1 MiB
}

func (c Config) maxBytes() int64 {
	if c.MaxBytes > 0 {
		return c.MaxBytes
	}
	return 64 << 20
}

func (c Config) maxAnswer() int64 {
	if c.MaxAnswer > 0 {
		return c.MaxAnswer
	}
	return 1 << 20
}

// Answer is a whole answer with status 200. What Get answers is shared with others and must not be changed.
type Answer struct {
	ContentType string
	Body        []byte
}

// Miss is the right to keep the answer that was not there. It is good for one question, and until the next Clear. The zero
// Miss is good for nothing.
type Miss struct {
	key        Key
	generation uint64
}

// Cache keeps answers. Make it with New. All methods may be called at any time from anywhere.
type Cache struct {
	maxAnswer int64
	shards    []shard // as many as a power of two; a key belongs to one of them
}

// New makes an empty Cache.
func New(c Config) *Cache {
	n := int64(1)
	for n < maxShards && c.maxBytes()/(2*n) >= roomy*c.maxAnswer() {
		n *= 2
	}
	cache := &Cache{maxAnswer: c.maxAnswer(), shards: make([]shard, n)}
	for i := range cache.shards {
		cache.shards[i].init(c.maxBytes() / n)
	}
	return cache
}

func (c *Cache) shard(k Key) *shard { return &c.shards[int(k.sum[0])&(len(c.shards)-1)] }

// Get answers what is kept under the key, or nil and the right to keep what the upstream says. It counts a hit or a miss. At
// the end of its time to the nanosecond an answer is not there any more. The zero Key has no answer and is not counted.
func (c *Cache) Get(k Key, now time.Time) (*Answer, Miss) {
	if k == (Key{}) {
		return nil, Miss{}
	}
	return c.shard(k).get(k, now)
}

// Put keeps a copy of the answer for ttl, and says whether it did: not if it is too large, if ttl is none, or if it was cleared
// meanwhile. Of two answers to the same question the later is kept.
func (c *Cache) Put(m Miss, a Answer, ttl time.Duration, now time.Time) bool {
	size := int64(len(a.ContentType) + len(a.Body))
	if ttl <= 0 || size > c.maxAnswer {
		return false
	}
	body := bytes.Clone(a.Body)
	e := &entry{
		answer: Answer{ContentType: strings.Clone(a.ContentType), Body: slices.Clip(body)},
		sum:    m.key.sum,
		until:  now.Add(ttl),
		size:   overhead + int64(len(a.ContentType)+cap(body)),
	}
	return c.shard(m.key).put(m, e)
}

// Clear drops the answers of these providers, of all if none is named. An answer whose upstream is being asked will not be kept
// either.
func (c *Cache) Clear(providers ...string) {
	for i := range c.shards {
		c.shards[i].clear(func(id string) bool { return len(providers) == 0 || slices.Contains(providers, id) })
	}
}
