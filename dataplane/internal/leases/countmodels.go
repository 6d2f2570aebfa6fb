package leases

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

// models is what the rows of counts know of models: those that an upstream has served. All others are counted together, as any
// string that a client makes up would be a row otherwise; and those that are served are bounded too, because some upstreams
// serve whatever they are asked for. Looking one up takes no lock.
type models struct {
	served atomic.Pointer[map[model]model] // each as it is kept, not tied to the request that named it
	mu     sync.Mutex                      // one is added at a time
}

type model struct{ provider, name string }

const (
	maxModels   = 1000
	otherModels = "other"
)

// serve notes that an upstream has served the model.
func (m *models) serve(providerID, name string) {
	served := m.known()
	if _, ok := served[model{providerID, name}]; ok || len(served) >= maxModels {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	next := maps.Clone(m.known())
	if next == nil {
		next = map[model]model{}
	}
	if len(next) < maxModels {
		one := model{strings.Clone(providerID), strings.Clone(name)}
		next[one] = one
		m.served.Store(&next)
	}
}

// fold answers the model whose row this one is counted in.
func (m *models) fold(providerID, name string) model {
	if name == "" {
		return model{providerID, ""}
	}
	if one, ok := m.known()[model{providerID, name}]; ok {
		return one
	}
	return model{providerID, otherModels}
}

func (m *models) known() map[model]model {
	if served := m.served.Load(); served != nil {
		return *served
	}
	return nil
}
