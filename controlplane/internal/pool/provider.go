package pool

import "time"

// Provider is an upstream.
type Provider struct {
	ID                    ProviderID
	DisplayName           string
	BaseURL               string // scheme, host, optional port and path; nothing else
	Dialect               string // ollama, openrouter or openai; the data planes know what they are
	Enabled               bool
	AllowPrivateAddresses bool
	Headers               map[string]string
	MaxTries              int           // 1 to 10
	Strikes               int           // failures in a row that put a key out
	EjectFor              time.Duration // for how long
	ConnectTimeout        time.Duration
	FirstByteTimeout      time.Duration
	IdleTimeout           time.Duration
	ModelAliases          map[string]string // what clients may call a model → what the upstream calls it; replaced once
	Affinity              string            // one of the Affinity… constants
	Patience              time.Duration     // how long a request may wait for the first key to be free again; 0: not at all
	CacheTTL              time.Duration     // how long whole answers are kept; 0: they are not
	CreateTime            time.Time
	Revision              uint64
}

// The defaults that users of the former system know: three tries, three failures in a row, one hour.
const (
	DefaultMaxTries         = 3
	DefaultStrikes          = 3
	DefaultEjectFor         = time.Hour
	DefaultConnectTimeout   = 10 * time.Second
	DefaultFirstByteTimeout = 300 * time.Second
	DefaultIdleTimeout      = 300 * time.Second
)

// What is meant where nothing is said. A zero patience is a choice of its own, and a zero life of kept answers means that
// none are kept: so WithDefaults leaves both alone, and whoever makes a provider says them.
const (
	DefaultPatience = 2 * time.Second
	DefaultCacheTTL = 300 * time.Second // of a cache that is switched on
)

// When requests of the same beginning go to the same key.
const (
	AffinityOnRequest = "on_request" // when the request names its session
	AffinityPrompt    = "prompt"     // also by how the prompt begins
)

// WithDefaults fills the fields that are zero and cannot be.
func (p Provider) WithDefaults() Provider {
	p.DisplayName = or(p.DisplayName, string(p.ID))
	p.Dialect = or(p.Dialect, "openai")
	p.MaxTries = or(p.MaxTries, DefaultMaxTries)
	p.Strikes = or(p.Strikes, DefaultStrikes)
	p.EjectFor = or(p.EjectFor, DefaultEjectFor)
	p.ConnectTimeout = or(p.ConnectTimeout, DefaultConnectTimeout)
	p.FirstByteTimeout = or(p.FirstByteTimeout, DefaultFirstByteTimeout)
	p.IdleTimeout = or(p.IdleTimeout, DefaultIdleTimeout)
	p.Affinity = or(p.Affinity, AffinityOnRequest)
	return p
}

// BuiltinProviders are there from the start.
func BuiltinProviders() []Provider {
	list := []Provider{
		{ID: "ollama", DisplayName: "Ollama", BaseURL: "https://ollama.com", Dialect: "ollama"},
		{ID: "openrouter", DisplayName: "OpenRouter", BaseURL: "https://openrouter.ai/api", Dialect: "openrouter"},
	}
	for i, p := range list {
		p.Enabled, p.Patience = true, DefaultPatience
		list[i] = p.WithDefaults()
	}
	return list
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
