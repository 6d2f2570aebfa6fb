package store

import (
	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/seal"
)

func (tx *Tx) seal(secret pool.Secret, kind, id, provider string) ([]byte, error) {
	return tx.store.keys.Seal([]byte(secret.Reveal()), seal.AssociatedData(tx.store.clusterID, kind, id, provider))
}

func (tx *Tx) open(sealed []byte, kind, id, provider string) (pool.Secret, error) {
	plain, err := tx.store.keys.Open(sealed, seal.AssociatedData(tx.store.clusterID, kind, id, provider))
	if err != nil {
		return pool.Secret{}, damaged("%s %s: %w", kind, id, err)
	}
	return pool.NewSecret(string(plain)), nil
}

// Sealed answers a value that PutSealed has kept, such as a private key, or ErrNotFound.
func (tx *Tx) Sealed(name string) (pool.Secret, error) {
	b := tx.get(bucketMeta, metaSealed+name)
	if b == nil {
		return pool.Secret{}, ErrNotFound
	}
	if b[0] != recordFormat {
		return pool.Secret{}, damaged("%s %s has an unknown format", sealedValue, name)
	}
	return tx.open(b[1:], sealedValue, name, "")
}

// PutSealed keeps a value under a name. It takes no revision.
func (tx *Tx) PutSealed(name string, value pool.Secret) error {
	if err := tx.writable(); err != nil {
		return err
	}
	sealed, err := tx.seal(value, sealedValue, name, "")
	if err != nil {
		return err
	}
	tx.stage(bucketMeta, metaSealed+name, append([]byte{recordFormat}, sealed...))
	return nil
}
