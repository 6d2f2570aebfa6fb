package leaseapi

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"ollama-api-pool/controlplane/internal/pool"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// noticeRestore begins another lineage when a node has heard more of this one than its database knows: then that is a backup
// which somebody has put back. Without this the node would rightly refuse what is older than what it has heard. If it cannot
// be written down now, the node comes again.
func (a *API) noticeRestore(ctx context.Context, node pool.NodeID, hello *leasev1.Hello) error {
	a.restored.Lock() // of two nodes that tell of it, one changes the lineage
	defer a.restored.Unlock()
	lineage, term := a.cfg.Store.Lineage(), a.cfg.Store.Term()
	if string(hello.GetLineage()) != string(lineage[:]) {
		return nil
	}
	later := hello.GetTerm() > term || hello.GetRevision() > a.cfg.Store.Revision()
	if hello.GetTerm() == term && !a.cfg.Pool.SeenInThisTerm(node) { // another life had this term before
		later = true
	}
	if !later {
		return nil
	}
	if err := a.cfg.Store.BeginLineage(ctx); err != nil {
		return status.Error(codes.Unavailable, "the control plane cannot note now that it was restored")
	}
	a.cfg.Logger.Warn("a node has heard of a later life of this database: it is a backup that was restored, and begins a new lineage",
		"node", string(node), "heard_term", hello.GetTerm(), "term", term,
		"heard_revision", hello.GetRevision(), "revision", a.cfg.Store.Revision())
	return nil
}
