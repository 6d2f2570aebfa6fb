package adminapi

import (
	"slices"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// providerFields are what an operator may say about a provider. A message names all of its fields: those that are absent
// in it go back to their default.
var providerFields = []string{
	"display_name", "base_url", "dialect", "enabled", "allow_private_addresses", "headers",
	"failover", "failover.max_tries", "failover.strikes", "failover.eject_for", "failover.patience",
	"timeouts", "timeouts.connect", "timeouts.first_byte", "timeouts.idle",
	"model_aliases", "affinity", "cache", "cache.enabled", "cache.ttl",
}

// providerParts are the fields that are messages.
var providerParts = map[string][]string{
	"failover": {"failover.max_tries", "failover.strikes", "failover.eject_for", "failover.patience"},
	"timeouts": {"timeouts.connect", "timeouts.first_byte", "timeouts.idle"},
	"cache":    {"cache.enabled", "cache.ttl"},
}

// applyProvider sets the named fields and checks the provider that comes of it. On an error, p is good for nothing.
func applyProvider(p *pool.Provider, to *adminv1.Provider, fields []string) error {
	fields = withParts(fields, providerParts)
	for _, f := range fields {
		switch f {
		case "display_name":
			p.DisplayName = to.GetDisplayName()
		case "base_url":
			p.BaseURL = to.GetBaseUrl()
		case "dialect":
			p.Dialect = to.GetDialect()
		case "enabled":
			p.Enabled = to.Enabled == nil || to.GetEnabled()
		case "allow_private_addresses":
			p.AllowPrivateAddresses = to.GetAllowPrivateAddresses()
		case "headers":
			p.Headers = to.GetHeaders()
		case "failover.max_tries":
			p.MaxTries = int(to.GetFailover().GetMaxTries())
		case "failover.strikes":
			p.Strikes = int(to.GetFailover().GetStrikes())
		case "failover.eject_for":
			p.EjectFor = seconds(to.GetFailover().GetEjectFor())
		case "failover.patience":
			p.Patience = pool.DefaultPatience
			if to.GetFailover() != nil && to.GetFailover().Patience != nil {
				p.Patience = seconds(to.GetFailover().GetPatience())
			}
		case "timeouts.connect":
			p.ConnectTimeout = seconds(to.GetTimeouts().GetConnect())
		case "timeouts.first_byte":
			p.FirstByteTimeout = seconds(to.GetTimeouts().GetFirstByte())
		case "timeouts.idle":
			p.IdleTimeout = seconds(to.GetTimeouts().GetIdle())
		case "model_aliases":
			p.ModelAliases = to.GetModelAliases()
		case "affinity":
			p.Affinity = to.GetAffinity()
		}
	}
	if r := applyCache(p, to.GetCache(), slices.Contains(fields, "cache.enabled"), slices.Contains(fields, "cache.ttl")); r != nil {
		return r
	}
	return checkProvider(p)
}

// checkProvider checks what the rules of the proto cannot, and brings the provider into its one written form.
func checkProvider(p *pool.Provider) error {
	*p = p.WithDefaults()
	if r := checkText("displayName", p.DisplayName, maxLabel); r != nil {
		return r
	}
	address, r := parseBaseURL(p.BaseURL, p.AllowPrivateAddresses)
	if r != nil {
		return r
	}
	headers, r := checkHeaders(p.Headers)
	if r != nil {
		return r
	}
	if r := checkAliases(p.ModelAliases); r != nil {
		return r
	}
	p.BaseURL, p.Headers = address, headers
	return nil
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

func wireProvider(p pool.Provider, keys int) *adminv1.Provider {
	return &adminv1.Provider{
		Id: string(p.ID), DisplayName: p.DisplayName, BaseUrl: p.BaseURL, Dialect: p.Dialect, Enabled: new(p.Enabled),
		AllowPrivateAddresses: p.AllowPrivateAddresses, Headers: p.Headers,
		Failover: &adminv1.Failover{
			MaxTries: new(int32(p.MaxTries)), Strikes: new(int32(p.Strikes)), EjectFor: new(p.EjectFor.Seconds()),
			Patience: new(p.Patience.Seconds()),
		},
		Timeouts: &adminv1.Timeouts{
			Connect: new(p.ConnectTimeout.Seconds()), FirstByte: new(p.FirstByteTimeout.Seconds()), Idle: new(p.IdleTimeout.Seconds()),
		},
		ModelAliases: p.ModelAliases, Affinity: p.Affinity, Cache: wireCache(p.CacheTTL),
		CreateTime: stamp(p.CreateTime), Revision: wireRevision(p.Revision), KeyCount: int32(keys),
	}
}
