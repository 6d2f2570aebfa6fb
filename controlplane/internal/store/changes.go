package store

import "ollama-api-pool/controlplane/internal/pool"

// The kinds in bucket changes. The numbers are stored.
const (
	kindKey      byte = 1
	kindToken    byte = 2
	kindProvider byte = 3
	kindNode     byte = 4
)

// The operations in bucket changes. The numbers are stored.
const (
	opPut    byte = 1
	opDelete byte = 2
)

// log notes a change under the next revision, which the caller has set in c. A value is the format byte, kind, operation
// and id. One change goes for each that comes once there are enough.
func (tx *Tx) log(c pool.Change, kind, op byte, id string) {
	tx.revision = c.Revision
	tx.changes = append(tx.changes, c)
	tx.stage(bucketChanges, string(number(c.Revision)), append([]byte{recordFormat, kind, op}, id...))
	if keep := tx.store.keepChanges; c.Revision > keep {
		tx.stage(bucketChanges, string(number(c.Revision-keep)), nil)
	}
}

func (tx *Tx) next() uint64 { return tx.revision + 1 }
