package stats

import (
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// Batch is what one node reports of one interval. Its identity is node, epoch and seq; a batch delivered again under the
// same identity has no second effect.
type Batch struct {
	Node     pool.NodeID // from the caller's certificate, never from its message
	Epoch    uint64
	Seq      uint64    // 1, 2, 3 … without gaps within an epoch
	SealedAt time.Time // by this control plane's clock: now less the age the node told
	Keys     []KeyDelta
	Tokens   []TokenDelta
}

// KeyDelta is what one key met, with one model.
type KeyDelta struct {
	Key      pool.KeyID
	Provider pool.ProviderID
	Model    string
	Counts   AttemptCounts
}

// TokenDelta is what the clients with one token saw, with one model.
type TokenDelta struct {
	Token    pool.TokenID
	Provider pool.ProviderID
	Model    string
	Counts   RequestCounts
}

// stream names a sequence of batches.
type stream struct {
	node  pool.NodeID
	epoch uint64
}
