package store

import (
	"encoding/binary"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
	storev1 "ollama-api-pool/gen/pool/store/v1"
)

func tickRecord(rows []stats.Row) *storev1.TickRecord {
	rec := &storev1.TickRecord{Rows: make([]*storev1.TickRow, len(rows))}
	for i, r := range rows {
		rec.Rows[i] = &storev1.TickRow{
			Key: []byte(r.Key), Delta: counters(r.Counts),
			LastUsed: r.Used, LastSuccess: r.Success, LastFailure: r.Failure,
		}
	}
	return rec
}

func tickRow(r *storev1.TickRow) stats.Row {
	return stats.Row{
		Key: stats.RowKey(r.GetKey()), Counts: r.GetDelta().GetCounts(),
		Used: r.GetLastUsed(), Success: r.GetLastSuccess(), Failure: r.GetLastFailure(),
	}
}

func totalRecord(r stats.Row, asOf uint64) *storev1.TotalRecord {
	return &storev1.TotalRecord{
		Counters: counters(r.Counts), AsOf: asOf,
		LastUsed: r.Used, LastSuccess: r.Success, LastFailure: r.Failure,
	}
}

func totalRow(key []byte, t *storev1.TotalRecord) stats.Row {
	return stats.Row{
		Key: stats.RowKey(key), Counts: t.GetCounters().GetCounts(),
		Used: t.GetLastUsed(), Success: t.GetLastSuccess(), Failure: t.GetLastFailure(),
	}
}

func counters(counts []uint64) *storev1.Counters {
	for len(counts) > 0 && counts[len(counts)-1] == 0 {
		counts = counts[:len(counts)-1]
	}
	return &storev1.Counters{Counts: counts}
}

func healthRecord(h pool.Health) *storev1.HealthRecord {
	return &storev1.HealthRecord{
		KeyId: uint64(h.Key), Generation: h.Generation, Phase: uint32(h.Phase), Reason: uint32(h.Reason),
		Until: stamp(h.Until), Strikes: small(h.Strikes), Ejections: small(h.Ejections),
	}
}

func healthOf(value []byte) (pool.Health, error) {
	var r storev1.HealthRecord
	if err := decode(value, &r, "health"); err != nil {
		return pool.Health{}, err
	}
	if r.GetPhase() > 0xff || r.GetReason() > 0xff {
		return pool.Health{}, damaged("health of %v: phase %d, reason %d", pool.KeyID(r.GetKeyId()), r.GetPhase(), r.GetReason())
	}
	return pool.Health{
		Key: pool.KeyID(r.GetKeyId()), Generation: r.GetGeneration(), Phase: pool.Phase(r.GetPhase()),
		Reason: pool.Reason(r.GetReason()), Until: unstamp(r.GetUntil()),
		Strikes: int(r.GetStrikes()), Ejections: int(r.GetEjections()),
	}, nil
}

// cursorKey needs no length: a node's name has no zero byte, and the epoch has eight bytes.
func cursorKey(c stats.Cursor) []byte {
	b := append([]byte(c.Node), 0)
	return binary.BigEndian.AppendUint64(b, c.Epoch)
}

func cursorOf(key, value []byte) (stats.Cursor, error) {
	end := len(key) - 9
	if end < 0 || key[end] != 0 {
		return stats.Cursor{}, damaged("a cursor is of nobody")
	}
	var r storev1.CursorRecord
	if err := decode(value, &r, "cursor"); err != nil {
		return stats.Cursor{}, err
	}
	return stats.Cursor{
		Node: pool.NodeID(key[:end]), Epoch: binary.BigEndian.Uint64(key[end+1:]),
		Seq: r.GetLastSeq(), CommitTime: unstamp(r.GetCommitTime()),
	}, nil
}
