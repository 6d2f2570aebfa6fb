package leases

import (
	"ollama-api-pool/dataplane/internal/capacity"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// applyGrants takes this node's shares of limits.
func (b *Book) applyGrants(u *leasev1.GrantUpdate) {
	grants := make([]capacity.Grant, 0, len(u.GetGrants()))
	for _, g := range u.GetGrants() {
		grants = append(grants, capacity.Grant{
			Name:      capacity.Name{Kind: capacity.Kind(g.GetKind()), ID: g.GetId()},
			Dimension: capacity.Dimension(g.GetDimension()), Amount: g.GetAmount(), Floor: g.GetFloor(), Window: g.GetWindow(),
		})
	}
	b.shares.Apply(u.GetGrantSeq(), grants)
}

func wireHoldings(held []capacity.Holding) []*leasev1.Holding {
	var list []*leasev1.Holding
	for _, h := range held {
		list = append(list, &leasev1.Holding{
			Kind: leasev1.Kind(h.Name.Kind), Id: h.Name.ID, Dimension: leasev1.Dimension(h.Dimension),
			Amount: h.Amount, Floor: h.Floor, Window: h.Window,
		})
	}
	return list
}

func wireDemand(wants []capacity.Want) *leasev1.SessionRequest {
	d := &leasev1.Demand{}
	for _, w := range wants {
		one := &leasev1.Want{
			Kind: leasev1.Kind(w.Name.Kind), Id: w.Name.ID, ProviderId: w.Provider,
			RequestsPerMinute: w.RequestsPerMinute, TokensPerMinute: w.TokensPerMinute,
		}
		if w.Provider != "" {
			one.Kind = leasev1.Kind_KIND_PROVIDER
		}
		for _, dim := range w.Short {
			one.Short = append(one.Short, leasev1.Dimension(dim))
		}
		d.Wants = append(d.Wants, one)
	}
	return &leasev1.SessionRequest{Message: &leasev1.SessionRequest_Demand{Demand: d}}
}
