package pool_test

import (
	"errors"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

func TestAddressRanges(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"10.0.0.0/8", "10.0.0.0/8"},
		{"10.1.2.3/8", "10.0.0.0/8"},
		{"10.1.2.3", "10.1.2.3/32"},
		{"0.0.0.0/0", "0.0.0.0/0"},
		{"2001:DB8::1", "2001:db8::1/128"},
		{"2001:db8:0:0:0:0:0:ff/32", "2001:db8::/32"},
		{"::/0", "::/0"},
		{"::", "::/128"},
	} {
		if got, err := pool.ParseCIDR(row.text); err != nil || got.String() != row.want {
			t.Errorf("%q: got %v, %v, want %s", row.text, got, err, row.want)
		}
	}
	for _, row := range []struct {
		text string
		want error
	}{
		{"", pool.ErrNoCIDR},
		{"everywhere", pool.ErrNoCIDR},
		{"10.0.0.0/33", pool.ErrNoCIDR},
		{"10.0.0/8", pool.ErrNoCIDR},
		{"010.0.0.1", pool.ErrNoCIDR},
		{"10.0.0.1:80", pool.ErrNoCIDR},
		{" 10.0.0.1", pool.ErrNoCIDR},
		{"10.0.0.0/8 ", pool.ErrNoCIDR},
		{"10.0.0.0/255.0.0.0", pool.ErrNoCIDR},
		{"fe80::1%eth0", pool.ErrNoCIDR},
		{"fe80::1%eth0/64", pool.ErrNoCIDR},
		{"::ffff:10.0.0.1", pool.ErrMappedCIDR},
		{"::ffff:10.0.0.0/104", pool.ErrMappedCIDR},
		{"::ffff:0:0/96", pool.ErrMappedCIDR},
	} {
		if got, err := pool.ParseCIDR(row.text); !errors.Is(err, row.want) {
			t.Errorf("%q: got %v, %v, want %v", row.text, got, err, row.want)
		}
	}
}

func TestProvidersThatAreThereFromTheStartSayEverything(t *testing.T) {
	list := pool.BuiltinProviders()
	if len(list) != 2 {
		t.Fatalf("there are %d", len(list))
	}
	for _, p := range list {
		if !p.Enabled || p.Patience != 2*time.Second || p.Affinity != pool.AffinityOnRequest || p.CacheTTL != 0 || p.MaxTries != 3 {
			t.Errorf("got %+v", p)
		}
	}
}
