package store

import (
	"iter"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// recordFormat is the first byte of every value: protobuf of package pool.store.v1 follows.
const recordFormat = 1

func encode(m proto.Message) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.MarshalAppend([]byte{recordFormat}, m)
}

// decode copies everything out of b. The error names what could not be read.
func decode(b []byte, m proto.Message, what string) error {
	if len(b) == 0 || b[0] != recordFormat {
		return damaged("%s has an unknown format", what)
	}
	if err := proto.Unmarshal(b[1:], m); err != nil {
		return damaged("%s: %w", what, err)
	}
	return nil
}

// records ranges over a bucket's records. After an error it ends.
func records[T any](tx *Tx, bucket string, decode func(key string, value []byte) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for key, value := range tx.scan(bucket) {
			r, err := decode(key, value)
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func unstamp(ts *timestamppb.Timestamp) time.Time {
	if ts == nil {
		return time.Time{}
	}
	return ts.AsTime()
}

func millis(d time.Duration) uint64    { return uint64(max(d, 0) / time.Millisecond) }
func unmillis(ms uint64) time.Duration { return time.Duration(ms) * time.Millisecond }

// small fits numbers that the API keeps between 0 and some thousands.
func small(n int) uint32 { return uint32(max(0, min(n, 1<<31-1))) }
