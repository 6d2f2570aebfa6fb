// Package adminapi is what operators may ask of the control plane: the admin services, between the wire and the pool
// and store.
//
// Every change is one store transaction; the pool has applied it when the transaction returns. So an answer always shows
// the state after the change, and a failed call has changed nothing. Reads come from the pool, which is in memory.
//
// A revocation is committed before anyone waits for its receipt: a caller that hangs up, or whose wait ends, has revoked
// all the same.
//
// No error, log line or answer holds an upstream key, and no error quotes any value that a caller sent.
package adminapi

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"ollama-api-pool/controlplane/internal/caller"
	"ollama-api-pool/controlplane/internal/jobs"
	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
	"ollama-api-pool/controlplane/internal/store"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// Config of an API. Store and Pool are needed; the store's commits must reach the pool before Update returns.
type Config struct {
	Store *store.Store
	Pool  *pool.Pool
	// Prober asks upstreams about keys; nil: nobody is asked, and nothing is learnt.
	Prober jobs.Prober
	// Stats answers what happened; nil: nothing did.
	Stats Figures
	// PublicStats lets anyone see the public statistics.
	PublicStats bool
	// Now is the clock that states are told by; default time.Now.
	Now func() time.Time
	// Log gets one line per change and one per fault; default: none.
	Log *slog.Logger
}

func (c Config) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

func (c Config) log() *slog.Logger {
	if c.Log != nil {
		return c.Log
	}
	return slog.New(slog.DiscardHandler)
}

// Figures is what the API asks of the statistics.
type Figures interface {
	Key(id pool.KeyID) stats.KeyStats
	KeyHours(id pool.KeyID, now time.Time) []stats.KeyHour
	KeyEvents(id pool.KeyID) ([]pool.Event, error)
	Token(id pool.TokenID) stats.TokenStats
	Providers() []stats.ProviderStats
	Models(provider pool.ProviderID, limit int) []stats.ModelStats
	Hours(provider pool.ProviderID, now time.Time) []stats.Hour
}

// API is the implementation of the admin services.
type API struct {
	config Config
	store  *store.Store
	pool   *pool.Pool
	stats  Figures
	prober jobs.Prober
	jobs   *jobs.Runner
	auth   *caller.Authenticator
	public publicStats
}

// New makes the API.
func New(c Config) *API {
	a := &API{config: c, store: c.Store, pool: c.Pool, stats: c.Stats, prober: c.Prober}
	if a.stats == nil {
		a.stats = nothing{}
	}
	if a.prober == nil {
		a.prober = nobody{}
	}
	a.jobs = jobs.New(jobs.Config{Store: c.Store, Pool: c.Pool, Prober: a.prober, Now: c.Now, Log: c.log()})
	a.auth = caller.NewAuthenticator(caller.Config{Lookup: a.credential, Now: c.Now})
	return a
}

// Register adds the services to a server. The server must have been made with Options: the services themselves do not ask
// who is calling.
func (a *API) Register(r grpc.ServiceRegistrar) {
	adminv1.RegisterKeyServiceServer(r, keyService{API: a})
	adminv1.RegisterTokenServiceServer(r, tokenService{API: a})
	adminv1.RegisterProviderServiceServer(r, providerService{API: a})
	adminv1.RegisterNodeServiceServer(r, nodeService{API: a})
	adminv1.RegisterStatsServiceServer(r, statsService{API: a})
	adminv1.RegisterJobServiceServer(r, jobService{API: a})
	adminv1.RegisterCacheServiceServer(r, cacheService{API: a})
}

// Open answers the methods that need no login.
func (a *API) Open() []string {
	if a.config.PublicStats {
		return []string{adminv1.StatsService_GetPublicStats_FullMethodName}
	}
	return nil
}

func (a *API) now() time.Time { return a.config.now() }

// update runs one transaction. All of it happens, or nothing.
func (a *API) update(ctx context.Context, fn func(tx *store.Tx) error) error {
	_, err := a.store.Update(ctx, fn)
	return err
}
