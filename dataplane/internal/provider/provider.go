// Package provider knows how upstreams differ: where the key goes, what "slow down" looks like, what an error means. One
// file per dialect; to add one, write its file and name it in dialects. It imports the standard library only and does no
// I/O, so that everything an upstream can say is testable as a table.
package provider

import "time"

// Provider is an upstream as the control plane describes it. Values are immutable; a change is a new value.
type Provider struct {
	ID                    string
	Revision              uint64
	BaseURL               string // scheme, host, optional port and path prefix
	Dialect               string // one of dialects
	Enabled               bool
	AllowPrivateAddresses bool
	Headers               map[string]string
	MaxTries              int // tries of one request for failures that do not name the key
	Strikes               int // failures in a row that put a key out
	EjectFor              time.Duration
	ConnectTimeout        time.Duration
	FirstByteTimeout      time.Duration
	IdleTimeout           time.Duration
	ModelAliases          map[string]string // what clients call a model → what the upstream calls it
	PromptAffinity        bool              // requests of the same beginning go to the same key, also if they do not ask for it
	Patience              time.Duration     // how long a request may wait for the first key to be free again
	CacheTTL              time.Duration     // how long whole answers are kept; 0: they are not
}

// Usage is how many tokens an answer has taken.
type Usage struct {
	Input, Output uint64
	Estimated     bool // the upstream did not say
}
