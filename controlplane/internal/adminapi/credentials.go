package adminapi

import (
	"context"
	"net/netip"

	"ollama-api-pool/controlplane/internal/caller"
	"ollama-api-pool/controlplane/internal/store"
)

// credential finds an admin by the digest of the token.
func (a *API) credential(hash [32]byte) (found caller.Credential, ok bool, err error) {
	err = a.store.View(func(tx *store.Tx) error {
		var admin store.Admin
		admin, ok = tx.AdminByHash(hash)
		found = caller.Credential{Name: admin.Name, Hash: admin.Hash, Role: caller.ParseRole(admin.Role)}
		return nil
	})
	return found, ok, err
}

// Admit says whether the Authorization header holds an admin's token, so that REST need not read a stranger's body. What
// the admin may do is decided by the interceptors. The error is a status.
func (a *API) Admit(ctx context.Context, authorization string, from netip.Addr) error {
	_, err := a.auth.Authenticate(authorization, from)
	return a.status(ctx, "", err)
}
