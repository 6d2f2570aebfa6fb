package store

import (
	"slices"

	"go.etcd.io/bbolt"

	storev1 "ollama-api-pool/gen/pool/store/v1"

	"ollama-api-pool/controlplane/internal/pool"
)

// writeBudgets keeps what is given out of budgets; one that there is not any more is dropped.
func writeBudgets(b *bbolt.Bucket, list []pool.Budget) error {
	for _, one := range list {
		key := budgetKey(one.ID)
		if one.Gone {
			if err := b.Delete(key); err != nil {
				return err
			}
			continue
		}
		r := &storev1.BudgetRecord{
			Kind: uint32(one.ID.Kind), Id: one.ID.ID, Dimension: uint32(one.ID.Dimension), Window: one.Window, Given: one.Given,
		}
		if err := putRecord(b, key, r); err != nil {
			return err
		}
	}
	return nil
}

func readBudgets(b *bbolt.Bucket) (list []pool.Budget, err error) {
	err = b.ForEach(func(k, v []byte) error {
		r := &storev1.BudgetRecord{}
		if err := decode(v, r, "budget"); err != nil {
			return err
		}
		id := pool.LimitID{Kind: pool.LimitKind(r.GetKind()), ID: r.GetId(), Dimension: pool.Dimension(r.GetDimension())}
		if !slices.Equal(k, budgetKey(id)) {
			return damaged("a budget is in another's place")
		}
		list = append(list, pool.Budget{ID: id, Window: r.GetWindow(), Given: r.GetGiven()})
		return nil
	})
	return list, err
}

func budgetKey(id pool.LimitID) []byte {
	return append(append([]byte{byte(id.Kind)}, number(id.ID)...), byte(id.Dimension))
}
