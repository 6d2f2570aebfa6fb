package fakellm

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// The dialects: whose paths and whose error shapes are spoken.
const (
	Ollama     = "ollama"
	OpenRouter = "openrouter"
	OpenAI     = "openai"
)

// DefaultModel is the one model served when Config.Models is empty.
const DefaultModel = "gpt-oss:20b"

// Config says what the pretend provider is. The zero value is an Ollama that
// serves DefaultModel and knows no key yet.
type Config struct {
	// Dialect is Ollama, OpenRouter or OpenAI; empty means Ollama.
	Dialect string
	// Models are the models served; any other answers 404. Empty means DefaultModel.
	Models []string
	// Now stamps the ledger and judges limits; nil means time.Now. Waiting (Delay,
	// ChunkInterval) always uses the timers of package time.
	Now func() time.Time
	// Ledger, if set, gets each finished entry as one line of JSON in one Write,
	// in the order of finishing. See Upstream.LedgerErr.
	Ledger io.Writer
	// AcceptAnyKey serves keys that were never set. No credential at all is still 401.
	AcceptAnyKey bool
	// KeepHeaders fills Entry.Headers and Entry.Query.
	KeepHeaders bool
	// KeepBodies fills Entry.Body and Entry.Answer.
	KeepBodies bool
}

func (c Config) withDefaults() Config {
	if c.Dialect == "" {
		c.Dialect = Ollama
	}
	if len(c.Models) == 0 {
		c.Models = []string{DefaultModel}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Models = slices.Clone(c.Models)
	return c
}

// Validate reports a dialect that does not exist or a model without a name.
func (c Config) Validate() error {
	c = c.withDefaults()
	if !slices.Contains([]string{Ollama, OpenRouter, OpenAI}, c.Dialect) {
		return fmt.Errorf("dialect: must be %s, %s or %s, got %q", Ollama, OpenRouter, OpenAI, c.Dialect)
	}
	if slices.Contains(c.Models, "") {
		return fmt.Errorf("models: a model needs a name")
	}
	return nil
}

// Upstream is the pretend provider. All methods may be called at any time from
// any goroutine.
type Upstream struct {
	cfg    Config
	routes map[string]route

	// mu guards keys, entries and every field of the key states and entries they
	// point to. It is never held while waiting or writing, and the clock is read
	// under it, so entries are in order of Start as well as of Seq.
	mu       sync.Mutex
	keys     map[string]*keyState
	accounts map[string]*tally
	entries  []*Entry

	// outMu makes the lines of cfg.Ledger whole; it guards outErr.
	outMu  sync.Mutex
	outErr error
}

// New makes a pretend provider. It panics if cfg.Validate fails, because that is
// a mistake in the test itself.
func New(cfg Config) *Upstream {
	if err := cfg.Validate(); err != nil {
		panic("fakellm: " + err.Error())
	}
	u := &Upstream{cfg: cfg.withDefaults(), keys: make(map[string]*keyState), accounts: make(map[string]*tally)}
	u.routes = u.makeRoutes()
	return u
}

// ServeHTTP answers one request and records it.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rt, allow := u.find(r)
	x := u.begin(w, r, rt)
	defer x.close()
	if !x.readBody() {
		return
	}
	if allow != "" {
		w.Header().Set("Allow", allow)
		x.plain(http.StatusMethodNotAllowed, "405 method not allowed\n")
		return
	}
	if rt.serve == nil {
		x.plain(http.StatusNotFound, "404 page not found\n")
		return
	}
	rt.serve(x)
}
