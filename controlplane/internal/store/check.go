package store

import (
	"strings"

	"go.etcd.io/bbolt"

	"ollama-api-pool/controlplane/internal/pool"
)

// checkAll reads everything: bbolt's structure, every record, every sealed value, and that indexes and counters tell what
// the records do. It answers ErrDamaged, naming the first thing that is wrong.
func (s *Store) checkAll(b *bbolt.Tx) error {
	var first error
	for err := range b.Check() { // to its end, because a goroutine sends
		if first == nil {
			first = damaged("%w", err)
		}
	}
	if first != nil {
		return first
	}
	tx := &Tx{store: s, bolt: b}
	for _, check := range [...]func(*Tx) error{checkKeys, checkDeletedKeys, checkTokens, checkProviders, checkRest, checkSealed} {
		if err := check(tx); err != nil {
			return err
		}
	}
	return nil
}

func checkKeys(tx *Tx) error {
	counts := map[pool.ProviderID]int{}
	total := 0
	for k, err := range tx.Keys() {
		if err != nil {
			return err
		}
		if id, _ := tx.KeyBySecret(k.Secret); id != k.ID {
			return damaged("key %s is not found by its secret", k.ID)
		}
		if err := tx.checkRevision("key "+k.ID.String(), k.Revision); err != nil {
			return err
		}
		counts[k.Provider]++
		total++
	}
	if tx.size(bucketKeysByFP) != total {
		return damaged("there are fingerprints of keys that are gone")
	}
	if tx.size(bucketKeyCounts) != len(counts) {
		return damaged("keys are counted for providers that have none")
	}
	for provider, n := range counts {
		if tx.CountKeys(provider) != n {
			return damaged("provider %s has %d keys and not %d", provider, n, tx.CountKeys(provider))
		}
	}
	return nil
}

func checkDeletedKeys(tx *Tx) error {
	if tx.bolt.Bucket([]byte(bucketDeletedKeys)) == nil { // of an older release; Open makes it
		return nil
	}
	for _, err := range tx.deletedKeys() {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkTokens(tx *Tx) error {
	total := 0
	for t, err := range tx.Tokens() {
		if err != nil {
			return err
		}
		if id, _ := tx.TokenByHash(t.Hash); id != t.ID {
			return damaged("token %s is not found by its digest", t.ID)
		}
		if err := tx.checkRevision("token "+t.ID.String(), t.Revision); err != nil {
			return err
		}
		total++
	}
	if tx.size(bucketTokensByHash) != total {
		return damaged("there are digests of tokens that are gone")
	}
	return nil
}

func checkProviders(tx *Tx) error {
	for p, err := range tx.Providers() {
		if err != nil {
			return err
		}
		if err := tx.checkRevision("provider "+string(p.ID), p.Revision); err != nil {
			return err
		}
	}
	return nil
}

func checkRest(tx *Tx) error {
	for _, err := range tx.Nodes() {
		if err != nil {
			return err
		}
	}
	for _, err := range tx.JoinTokens() {
		if err != nil {
			return err
		}
	}
	for _, err := range tx.Admins() {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkSealed(tx *Tx) error {
	for key := range tx.scan(bucketMeta) {
		name, ok := strings.CutPrefix(key, metaSealed)
		if !ok {
			continue
		}
		if _, err := tx.Sealed(name); err != nil {
			return err
		}
	}
	return nil
}

// checkRevision finds a database that has lost its newest revision number: it would give numbers away twice.
func (tx *Tx) checkRevision(what string, revision uint64) error {
	if newest := tx.store.revision.Load(); revision > newest {
		return damaged("%s has revision %d, but the newest is %d", what, revision, newest)
	}
	return nil
}

func (tx *Tx) size(bucket string) int { return tx.bolt.Bucket([]byte(bucket)).Stats().KeyN }
