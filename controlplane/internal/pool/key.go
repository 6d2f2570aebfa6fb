package pool

import (
	"slices"
	"time"
)

// Key is an upstream key as an operator made it. What its traffic shows is Health, which is kept apart.
// Values are immutable once committed; a change is a new value with a new revision.
type Key struct {
	ID       KeyID
	Provider ProviderID // never changes: the secret is bound to this provider's origin
	Secret   Secret
	Display  string
	Label    string
	Models   []string      // globs; empty: all
	Weight   int           // 1 to 100
	Priority int           // 0 to 100, lower first
	Regions  []string      // empty: all
	Category string        // family of models it was found to serve; empty: not known
	Group    string        // account whose keys share limits, cool-downs and usage; empty: it is alone
	Limits   Limits        // what its holders may use together; of keys of one group the strictest of each holds
	MaxStale time.Duration // how long a node may use it without a word from here; 0: as long as lease and grace

	CreateTime time.Time
	ExpireTime time.Time // zero: never

	Disabled      bool      // by an operator
	DisabledUntil time.Time // zero: until enabled
	Cut           bool      // requests that are under way end with the disable
	Note          string

	Revision   uint64 // of the last change
	Generation uint64 // rises with a new secret and with an operator's enable; starts at 1
}

// Disable answers the key as an operator takes it out of use; what is under way with it finishes. A zero until means: until enabled.
func (k Key) Disable(until time.Time, note string) Key {
	k.Disabled, k.DisabledUntil, k.Note, k.Cut = true, until, note, false
	return k
}

// DisableAndCut is Disable for a key that has leaked: what is under way with it ends too.
func (k Key) DisableAndCut(until time.Time, note string) Key {
	k = k.Disable(until, note)
	k.Cut = true
	return k
}

// Enable answers the key as an operator puts it back. The new generation voids everything held against the old one.
func (k Key) Enable() Key {
	k.Disabled, k.DisabledUntil, k.Cut = false, time.Time{}, false
	k.Generation++
	return k
}

// DisabledAt says whether an operator's disable is in force.
func (k Key) DisabledAt(now time.Time) bool {
	return k.Disabled && (k.DisabledUntil.IsZero() || now.Before(k.DisabledUntil))
}

// ExpiredAt says whether the key's life is over.
func (k Key) ExpiredAt(now time.Time) bool {
	return !k.ExpireTime.IsZero() && !now.Before(k.ExpireTime)
}

// FitsRegion says whether nodes of the region may hold the key.
func (k Key) FitsRegion(region string) bool {
	return len(k.Regions) == 0 || slices.Contains(k.Regions, region)
}

// NodeRecord is a data plane as it is remembered over restarts.
type NodeRecord struct {
	ID                NodeID
	Region            string
	Epoch             uint64 // rises with each new process of the node
	InstanceID        []byte // the process that has the epoch
	CertificateSerial []byte // of its newest certificate
	JoinTime          time.Time
	LeaveTime         time.Time // zero: it did not leave in order and may hold keys
	Drained           bool      // an operator wants it to take no new requests
	EvictTime         time.Time // when an operator put it out for good; zero: nobody has
}

// Change is one committed change of the configuration. Exactly one of the pointers or Removed ids is set.
type Change struct {
	Revision        uint64
	Key             *Key
	Token           *Token
	Provider        *Provider
	Node            *NodeRecord
	RemovedKey      KeyID
	CutTime         time.Time // of a removed key: when what is under way with it was to end; zero: it finishes
	RemovedToken    TokenID
	RemovedProvider ProviderID
}
