package tokens

import (
	"net/netip"
	"testing"
)

func TestAllowsFrom(t *testing.T) {
	tok := &Token{AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}}
	for _, row := range []struct {
		why, addr string
		want      error
	}{
		{"one of the range", "10.1.2.3", nil},
		{"one of it as IPv6 writes it", "::ffff:10.1.2.3", nil},
		{"one of the other range, with a zone", "2001:db8::1%eth0", nil},
		{"one beside it", "11.0.0.1", ErrNotAddress},
		{"another IPv6", "2001:db9::1", ErrNotAddress},
	} {
		if got := tok.AllowsFrom(netip.MustParseAddr(row.addr)); got != row.want { //nolint:errorlint // it is bare
			t.Errorf("%s: got %v, want %v", row.why, got, row.want)
		}
	}
	if tok.AllowsFrom(netip.Addr{}) == nil {
		t.Error("an address that is not known is allowed")
	}
	if (&Token{}).AllowsFrom(netip.Addr{}) != nil {
		t.Error("a token without ranges is bound to some")
	}
}
