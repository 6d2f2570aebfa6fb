package store

import (
	"bytes"
	"iter"

	storev1 "ollama-api-pool/gen/pool/store/v1"

	"ollama-api-pool/controlplane/internal/pool"
)

// Node answers what is remembered of a data plane, or ErrNotFound.
func (tx *Tx) Node(id pool.NodeID) (pool.NodeRecord, error) {
	b := tx.get(bucketNodes, string(id))
	if b == nil {
		return pool.NodeRecord{}, ErrNotFound
	}
	return decodeNode(id, b)
}

// Nodes ranges over all data planes in order of ids. After an error it ends.
func (tx *Tx) Nodes() iter.Seq2[pool.NodeRecord, error] {
	return records(tx, bucketNodes, func(key string, value []byte) (pool.NodeRecord, error) {
		return decodeNode(pool.NodeID(key), value)
	})
}

// PutNode adds or replaces what is remembered of a data plane. It takes a revision, which the record does not show.
func (tx *Tx) PutNode(n pool.NodeRecord) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if !isName(string(n.ID)) {
		return errNoName
	}
	r := &storev1.NodeRecord{
		Id: string(n.ID), Region: n.Region, Epoch: n.Epoch,
		InstanceId: n.InstanceID, CertificateSerial: n.CertificateSerial,
		JoinTime: stamp(n.JoinTime), LeaveTime: stamp(n.LeaveTime), Drained: n.Drained, EvictTime: stamp(n.EvictTime),
	}
	b, err := encode(r)
	if err != nil {
		return err
	}
	tx.stage(bucketNodes, string(n.ID), b)
	stored := nodeOf(r)
	tx.log(pool.Change{Revision: tx.next(), Node: &stored}, kindNode, opPut, string(n.ID))
	return nil
}

func decodeNode(id pool.NodeID, b []byte) (pool.NodeRecord, error) {
	r := &storev1.NodeRecord{}
	if err := decode(b, r, "node "+string(id)); err != nil {
		return pool.NodeRecord{}, err
	}
	if r.GetId() != string(id) {
		return pool.NodeRecord{}, damaged("node %s is in another's place", id)
	}
	return nodeOf(r), nil
}

func nodeOf(r *storev1.NodeRecord) pool.NodeRecord {
	return pool.NodeRecord{
		ID: pool.NodeID(r.GetId()), Region: r.GetRegion(), Epoch: r.GetEpoch(),
		InstanceID: bytes.Clone(r.GetInstanceId()), CertificateSerial: bytes.Clone(r.GetCertificateSerial()),
		JoinTime: unstamp(r.GetJoinTime()), LeaveTime: unstamp(r.GetLeaveTime()),
		Drained: r.GetDrained(), EvictTime: unstamp(r.GetEvictTime()),
	}
}
