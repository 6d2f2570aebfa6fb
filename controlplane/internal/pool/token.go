package pool

import (
	"errors"
	"net/netip"
	"time"
)

// Token is a client token. Only the digest of the token is known.
type Token struct {
	ID         TokenID
	Hash       [32]byte // SHA-256 of the whole token
	Display    string
	Name       string
	Provider   ProviderID // empty: all
	Models     []string   // globs; empty: all
	CreateTime time.Time
	ExpireTime time.Time // zero: never
	Revision   uint64

	AllowedCIDRs []netip.Prefix // where its requests may come from, as ParseCIDR answers them; empty: from anywhere
	Limits       Limits
	Tenant       string // tokens of the same one share kept answers; empty: the token is alone
	Cache        *bool  // whether its answers are kept; nil: as the provider says
}

// ExpiredAt says whether the token's life is over.
func (t Token) ExpiredAt(now time.Time) bool {
	return !t.ExpireTime.IsZero() && !now.Before(t.ExpireTime)
}

// What is no address range, and what could be read as two.
var (
	ErrNoCIDR     = errors.New("is neither an address nor a range such as 10.0.0.0/8")
	ErrMappedCIDR = errors.New("is IPv4 written as IPv6: leave out ::ffff:, as in 10.0.0.1")
)

// ParseCIDR reads an address range, or a single address as the range of it alone, and answers its one written form, without
// the bits of a host. The error is one of the two above and quotes nothing. IPv4 written as IPv6 is refused: such a range
// would hold no address of a client, because those are compared as IPv4.
func ParseCIDR(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, ErrNoCIDR
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, ErrMappedCIDR
	}
	return p.Masked(), nil
}
