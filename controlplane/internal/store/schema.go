package store

import (
	"encoding/binary"
	"slices"
)

// schemaVersion rises when an older release could no longer read the file.
const schemaVersion = 1

// The buckets of config.db. Ids and revisions are 8 bytes, big-endian, so that bbolt's order is theirs.
const (
	bucketMeta         = "meta"           // name → see below
	bucketKeys         = "keys"           // id → record
	bucketKeysByFP     = "keys_by_fp"     // keyed fingerprint of the secret → id
	bucketKeyCounts    = "key_counts"     // provider → number of its keys
	bucketTokens       = "tokens"         // id → record
	bucketTokensByHash = "tokens_by_hash" // SHA-256 of the token → id
	bucketProviders    = "providers"      // id → record
	bucketNodes        = "nodes"          // id → record
	bucketJoinTokens   = "join_tokens"    // id → record
	bucketAdmins       = "admins"         // name → record
	bucketChanges      = "changes"        // revision → what changed
	bucketDeletedKeys  = "deleted_keys"   // id → record, for 24 hours
)

// firstBuckets are in every database of this schema.
func firstBuckets() []string {
	return []string{
		bucketMeta, bucketKeys, bucketKeysByFP, bucketKeyCounts, bucketTokens, bucketTokensByHash,
		bucketProviders, bucketNodes, bucketJoinTokens, bucketAdmins, bucketChanges,
	}
}

// laterBuckets came with later releases. An older one does without them, so they do not raise the schema; Open makes those
// that are missing.
func laterBuckets() []string { return []string{bucketDeletedKeys} }

// The names in bucket meta.
const (
	metaSchema    = "schema"     // number
	metaClusterID = "cluster_id" // text; survives a restore
	metaLineage   = "lineage"    // 16 bytes; within one, revisions never go back
	metaBranch    = "branch"     // 16 bytes; the lineage since it was noticed that a backup was restored; absent: it never was
	metaRevision  = "revision"   // number
	metaTerm      = "term"       // number; rises with every Open
	metaKeyset    = "keyset"     // wrapped by the KEK
	metaCreatedAt = "created_at" // Unix time in seconds
	metaClosed    = "closed"     // there only after the store was closed in order, so that no damage can feign it
	metaSealed    = "sealed/"    // and a name: format byte and sealed value
)

// The kinds of sealed values, as in their associated data.
const (
	sealedKey       = "upstream_key"
	sealedJoinToken = "join_token"
	sealedValue     = "sealed_value"
)

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// parseNumber answers 0 for what is no number; the check at opening finds those.
func parseNumber(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// isName says whether s can be a bucket's key.
func isName(s string) bool { return s != "" && len(s) <= maxName }

const maxName = 256

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
