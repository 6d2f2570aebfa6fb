package store

import (
	"bytes"
	"slices"

	"go.etcd.io/bbolt"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
	storev1 "ollama-api-pool/gen/pool/store/v1"
)

// writeEvents appends a tick's events to the histories of their keys, each of which keeps its newest ones only.
func writeEvents(b *bbolt.Bucket, t stats.Tick) error {
	for _, e := range t.Events {
		id := number(uint64(e.Key))
		next := parseNumber(lastOf(b, id)) + 1
		if err := putRecord(b, append(id, number(next)...), eventRecord(e)); err != nil {
			return err
		}
		if next > stats.EventsKept {
			if err := b.Delete(append(number(uint64(e.Key)), number(next-stats.EventsKept)...)); err != nil {
				return err
			}
		}
	}
	for _, id := range t.DropEvents {
		for _, key := range keysBetween(b, number(uint64(id)), number(uint64(id)+1), -1) {
			if err := b.Delete(key); err != nil {
				return err
			}
		}
	}
	return nil
}

// lastOf answers the number of a key's newest event; nil: it has none.
func lastOf(b *bbolt.Bucket, id []byte) []byte {
	c := b.Cursor()
	k, _ := c.Seek(append(bytes.Clone(id), number(1<<64-1)...))
	if k == nil {
		k, _ = c.Last()
	} else {
		k, _ = c.Prev()
	}
	if !bytes.HasPrefix(k, id) || len(k) != 16 {
		return nil
	}
	return k[8:]
}

// keysWithEvents hops from key to key, whatever the length of their histories.
func keysWithEvents(b *bbolt.Bucket) []pool.KeyID {
	var ids []pool.KeyID
	c := b.Cursor()
	for k, _ := c.First(); len(k) == 16; {
		id := parseNumber(k[:8])
		ids = append(ids, pool.KeyID(id))
		k, _ = c.Seek(append(number(id), number(1<<64-1)...))
	}
	return ids
}

// KeyEvents implements stats.Store.
func (s *Stats) KeyEvents(id pool.KeyID) (events []pool.Event, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		prefix := number(uint64(id))
		c := tx.Bucket([]byte(statsEvents)).Cursor()
		for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
			e, err := eventOf(id, v)
			if err != nil {
				return err
			}
			events = append(events, e)
		}
		return nil
	})
	slices.Reverse(events)
	return events, err
}

func eventRecord(e pool.Event) *storev1.EventRecord {
	return &storev1.EventRecord{
		Time: stamp(e.Time), Node: string(e.Node), Reason: uint32(e.Reason), HttpStatus: small(e.HTTPStatus),
		Count: small(e.Count), Probe: e.Probe, Status: string(e.Status), Until: stamp(e.Until),
	}
}

func eventOf(id pool.KeyID, value []byte) (pool.Event, error) {
	var r storev1.EventRecord
	if err := decode(value, &r, "history of "+id.String()); err != nil {
		return pool.Event{}, err
	}
	if r.GetReason() > 0xff {
		return pool.Event{}, damaged("history of %v: reason %d", id, r.GetReason())
	}
	return pool.Event{
		Key: id, Time: unstamp(r.GetTime()), Node: pool.NodeID(r.GetNode()), Reason: pool.Reason(r.GetReason()),
		HTTPStatus: int(r.GetHttpStatus()), Count: int(r.GetCount()), Probe: r.GetProbe(),
		Status: pool.Status(r.GetStatus()), Until: unstamp(r.GetUntil()),
	}, nil
}
