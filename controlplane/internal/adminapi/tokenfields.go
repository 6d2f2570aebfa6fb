package adminapi

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ollama-api-pool/controlplane/internal/pool"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

const (
	maxTenant = 100
	maxCIDRs  = 100
)

// tokenFields are what an operator may change of a token, and tokenParts the fields that are messages.
var (
	tokenFields = slices.Concat(
		[]string{"name", "provider", "models", "expire_time", "allowed_cidrs", "tenant", "cache", "limits", "budget"},
		tokenLimits, tokenBudget,
	)
	tokenParts = map[string][]string{"limits": tokenLimits, "budget": tokenBudget}
)

// applyToken sets the named fields and checks the token that comes of it, but not whether there is such a provider. On an
// error, t is good for nothing.
func applyToken(t *pool.Token, to *adminv1.ClientToken, fields []string) error {
	for _, f := range withParts(fields, tokenParts) {
		var err error
		switch f {
		case "name":
			t.Name = to.GetName()
		case "provider":
			t.Provider = pool.ProviderID(to.GetProvider())
		case "models":
			t.Models = slices.Clone(to.GetModels())
		case "expire_time":
			t.ExpireTime, err = expireTime(to.GetExpireTime())
		case "allowed_cidrs":
			t.AllowedCIDRs, err = readCIDRs(to.GetAllowedCidrs())
		case "tenant":
			t.Tenant = to.GetTenant()
		case "cache":
			t.Cache = to.Cache
		default:
			err = setTokenBound(&t.Limits, to, f)
		}
		if err != nil {
			return err
		}
	}
	return checkToken(*t)
}

// checkToken checks what an operator may say about a token, however it was said. The rules of the proto bound the limits.
func checkToken(t pool.Token) error {
	switch {
	case t.Name == "":
		return invalid("name", fmt.Sprintf("must have 1 to %d characters", maxLabel))
	case strings.TrimSpace(t.Name) != t.Name:
		return invalid("name", "has white space at its beginning or end")
	case strings.TrimSpace(t.Tenant) != t.Tenant:
		return invalid("tenant", "has white space at its beginning or end")
	}
	if r := firstOf(
		checkText("name", t.Name, maxLabel),
		checkText("tenant", t.Tenant, maxTenant),
		checkModels(t.Models),
	); r != nil {
		return r
	}
	return nil
}

// readCIDRs answers address ranges in their one written form, each once. An error names the place of what it is about, and
// quotes nothing.
func readCIDRs(texts []string) ([]netip.Prefix, error) {
	if len(texts) > maxCIDRs {
		return nil, invalid("allowedCidrs", fmt.Sprintf("may hold at most %d", maxCIDRs))
	}
	var list []netip.Prefix
	for i, text := range texts {
		p, err := pool.ParseCIDR(text)
		if err != nil {
			return nil, invalid(fmt.Sprintf("allowedCidrs[%d]", i), err.Error())
		}
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list, nil
}
