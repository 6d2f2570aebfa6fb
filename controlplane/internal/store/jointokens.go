package store

import (
	"iter"
	"strconv"
	"time"

	storev1 "ollama-api-pool/gen/pool/store/v1"

	"ollama-api-pool/controlplane/internal/pool"
)

// JoinToken lets a data plane join. Both sides prove that they know the secret, so it is kept, sealed.
type JoinToken struct {
	ID         uint64
	Secret     pool.Secret
	Region     string // empty: any
	ExpireTime time.Time
}

// JoinTokens ranges over all join tokens in order of ids, secrets opened. After an error it ends.
func (tx *Tx) JoinTokens() iter.Seq2[JoinToken, error] {
	return records(tx, bucketJoinTokens, func(key string, value []byte) (JoinToken, error) {
		return tx.decodeJoinToken(parseNumber([]byte(key)), value)
	})
}

// PutJoinToken adds or replaces a join token and answers it as stored, with a new id if that was zero. It takes no
// revision.
func (tx *Tx) PutJoinToken(t JoinToken) (JoinToken, error) {
	if err := tx.writable(); err != nil {
		return JoinToken{}, err
	}
	if t.Secret.IsZero() {
		return JoinToken{}, errNoSecret
	}
	if t.ID == 0 {
		t.ID = tx.newJoinTokenID()
	}
	sealed, err := tx.seal(t.Secret, sealedJoinToken, strconv.FormatUint(t.ID, 10), "")
	if err != nil {
		return JoinToken{}, err
	}
	r := &storev1.JoinTokenRecord{Id: t.ID, SealedToken: sealed, Region: t.Region, ExpireTime: stamp(t.ExpireTime)}
	b, err := encode(r)
	if err != nil {
		return JoinToken{}, err
	}
	tx.stage(bucketJoinTokens, string(number(t.ID)), b)
	return joinTokenOf(r, t.Secret), nil
}

// DeleteJoinToken removes a join token, or answers ErrNotFound.
func (tx *Tx) DeleteJoinToken(id uint64) error {
	if err := tx.writable(); err != nil {
		return err
	}
	key := string(number(id))
	if tx.get(bucketJoinTokens, key) == nil {
		return ErrNotFound
	}
	tx.stage(bucketJoinTokens, key, nil)
	return nil
}

func (tx *Tx) newJoinTokenID() uint64 {
	for {
		id := uint64(pool.NewTokenID())
		if tx.get(bucketJoinTokens, string(number(id))) == nil {
			return id
		}
	}
}

func (tx *Tx) decodeJoinToken(id uint64, b []byte) (JoinToken, error) {
	r := &storev1.JoinTokenRecord{}
	if err := decode(b, r, "join token "+strconv.FormatUint(id, 10)); err != nil {
		return JoinToken{}, err
	}
	secret, err := tx.open(r.GetSealedToken(), sealedJoinToken, strconv.FormatUint(id, 10), "")
	if err != nil {
		return JoinToken{}, err
	}
	return joinTokenOf(r, secret), nil
}

func joinTokenOf(r *storev1.JoinTokenRecord, secret pool.Secret) JoinToken {
	return JoinToken{ID: r.GetId(), Secret: secret, Region: r.GetRegion(), ExpireTime: unstamp(r.GetExpireTime())}
}
