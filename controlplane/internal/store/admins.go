package store

import (
	"iter"
	"time"

	storev1 "ollama-api-pool/gen/pool/store/v1"
)

// Admin is an admin credential. Only the digest of the token is known.
type Admin struct {
	Name       string
	Hash       [32]byte // SHA-256 of the token
	Role       string
	CreateTime time.Time
}

// Admin answers an admin credential, or ErrNotFound.
func (tx *Tx) Admin(name string) (Admin, error) {
	b := tx.get(bucketAdmins, name)
	if b == nil {
		return Admin{}, ErrNotFound
	}
	return decodeAdmin(name, b)
}

// AdminByHash finds an admin by the SHA-256 of the token. Admins are few, so it looks at each.
func (tx *Tx) AdminByHash(hash [32]byte) (Admin, bool) {
	for a, err := range tx.Admins() {
		if err == nil && a.Hash == hash {
			return a, true
		}
	}
	return Admin{}, false
}

// Admins ranges over all admin credentials in order of names. After an error it ends.
func (tx *Tx) Admins() iter.Seq2[Admin, error] {
	return records(tx, bucketAdmins, decodeAdmin)
}

// PutAdmin adds or replaces an admin credential; a zero CreateTime becomes the time. It takes no revision. It answers
// ErrExists if another admin has the token.
func (tx *Tx) PutAdmin(a Admin) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if !isName(a.Name) {
		return errNoName
	}
	if other, ok := tx.AdminByHash(a.Hash); ok && other.Name != a.Name {
		return ErrExists
	}
	b, err := encode(&storev1.AdminRecord{
		Name: a.Name, Hash: a.Hash[:], Role: a.Role, CreateTime: stamp(tx.createTime(a.CreateTime)),
	})
	if err != nil {
		return err
	}
	tx.stage(bucketAdmins, a.Name, b)
	return nil
}

func decodeAdmin(name string, b []byte) (Admin, error) {
	r := &storev1.AdminRecord{}
	if err := decode(b, r, "admin "+name); err != nil {
		return Admin{}, err
	}
	if r.GetName() != name || len(r.GetHash()) != 32 {
		return Admin{}, damaged("admin %s is in another's place or without a digest", name)
	}
	return Admin{
		Name: r.GetName(), Hash: [32]byte(r.GetHash()), Role: r.GetRole(), CreateTime: unstamp(r.GetCreateTime()),
	}, nil
}
