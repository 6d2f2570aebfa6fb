package origin

import (
	"net/http"
	"net/netip"
	"testing"
)

func TestClientAddr(t *testing.T) {
	trusted, err := ParseTrusted([]string{"10.0.0.0/8", " 192.0.2.7", "fd00::/8", "::1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		why, peer string
		forwarded []string
		want      string
	}{
		{"no header", "198.51.100.1:99", nil, "198.51.100.1"},
		{"a stranger's header is not believed", "198.51.100.1:99", []string{"203.0.113.5"}, "198.51.100.1"},
		{"a proxy's is", "10.1.1.1:99", []string{"203.0.113.5"}, "203.0.113.5"},
		{"a single address may be trusted", "192.0.2.7:99", []string{"203.0.113.5"}, "203.0.113.5"},
		{"and its neighbour not", "192.0.2.8:99", []string{"203.0.113.5"}, "192.0.2.8"},
		{"what a stranger wrote in front is not believed", "10.1.1.1:99", []string{"127.0.0.1, 203.0.113.5"}, "203.0.113.5"},
		{"not in a line of its own either", "10.1.1.1:99", []string{"127.0.0.1", "203.0.113.5"}, "203.0.113.5"},
		{"two proxies", "10.1.1.1:99", []string{"198.51.100.9, 203.0.113.5,10.2.2.2"}, "203.0.113.5"},
		{"two proxies in two lines", "10.1.1.1:99", []string{"203.0.113.5", "10.2.2.2"}, "203.0.113.5"},
		{"all are proxies", "10.1.1.1:99", []string{"10.3.3.3, 10.2.2.2"}, "10.3.3.3"},
		{"no address", "10.1.1.1:99", []string{"unknown"}, "10.1.1.1"},
		{"no address behind two proxies", "10.1.1.1:99", []string{"203.0.113.5, _hidden, 10.2.2.2"}, "10.1.1.1"},
		{"an empty header", "10.1.1.1:99", []string{""}, "10.1.1.1"},
		{"an empty element", "10.1.1.1:99", []string{"203.0.113.5,"}, "10.1.1.1"},
		{"an address with its port", "10.1.1.1:99", []string{"203.0.113.5:1234"}, "203.0.113.5"},
		{"v6", "[fd00::1]:99", []string{"2001:db8::5"}, "2001:db8::5"},
		{"v6 in brackets", "[fd00::1]:99", []string{"[2001:db8::5]"}, "2001:db8::5"},
		{"v6 with its port", "[fd00::1]:99", []string{"[2001:db8::5]:1234"}, "2001:db8::5"},
		{"v4 written as v6, on both sides", "[::ffff:10.1.1.1]:99", []string{"::ffff:203.0.113.5"}, "203.0.113.5"},
		{"a zone is nothing to a limit", "[fe80::1%eth0]:99", nil, "fe80::1"},
		{"no peer", "pipe", []string{"203.0.113.5"}, "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: row.peer, Header: http.Header{"X-Forwarded-For": row.forwarded}}
		if got := trusted.ClientAddr(r).String(); got != row.want {
			t.Errorf("%s: got %s, want %s", row.why, got, row.want)
		}
		if got := Trusted(nil).ClientAddr(r); got != Addr(row.peer) {
			t.Errorf("%s, and nobody is trusted: got %s", row.why, got)
		}
	}
}

func TestClientAddrAllocatesNothing(t *testing.T) {
	trusted, _ := ParseTrusted([]string{"10.0.0.0/8"})
	for why, r := range map[string]*http.Request{
		"v4":             {RemoteAddr: "198.51.100.1:99"},
		"v6":             {RemoteAddr: "[2001:db8::5]:99"},
		"behind a proxy": {RemoteAddr: "10.1.1.1:99", Header: http.Header{"X-Forwarded-For": {"203.0.113.5, 10.2.2.2"}}},
	} {
		if n := testing.AllocsPerRun(100, func() { trusted.ClientAddr(r) }); n != 0 {
			t.Errorf("%s: %v allocations", why, n)
		}
	}
}

func TestParseTrusted(t *testing.T) {
	for _, text := range []string{"", "10.0.0.0/33", "10.0.0.0/", "proxy.example", "10.0.0.1:80", "::ffff:10.0.0.0/104"} {
		if got, err := ParseTrusted([]string{"10.0.0.0/8", text}); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
	if got, err := ParseTrusted(nil); err != nil || got != nil {
		t.Errorf("none: %v, %v", got, err)
	}
	if got, err := ParseTrusted([]string{"10.1.2.3/8"}); err != nil || !got.Contains(netip.MustParseAddr("10.0.0.1")) {
		t.Errorf("an address within its network: %v, %v", got, err)
	}
}

func TestNetwork(t *testing.T) {
	for _, row := range []struct{ a, b, why string }{
		{"192.0.2.1", "::ffff:192.0.2.1", "v4 written as v6"},
		{"2001:db8::1", "2001:db8::ffff:1", "one v6 /64"},
		{"fe80::1%a", "fe80::2%b", "zones"},
	} {
		if Network(netip.MustParseAddr(row.a)) != Network(netip.MustParseAddr(row.b)) {
			t.Errorf("%s count as two", row.why)
		}
	}
	for _, row := range []struct{ a, b, why string }{
		{"192.0.2.1", "192.0.2.2", "v4 addresses"},
		{"2001:db8::1", "2001:db8:0:1::1", "v6 networks"},
	} {
		if Network(netip.MustParseAddr(row.a)) == Network(netip.MustParseAddr(row.b)) {
			t.Errorf("two %s count as one", row.why)
		}
	}
	if Network(netip.Addr{}).IsValid() {
		t.Error("no address has a network")
	}
}

func FuzzClientAddr(f *testing.F) {
	trusted, _ := ParseTrusted([]string{"10.0.0.0/8"})
	f.Add("203.0.113.5, 10.2.2.2", "10.1.1.1")
	f.Add("[2001:db8::5]:1, ", "::ffff:10.0.0.1")
	f.Add("fe80::1%eth0,,\x00", "")
	f.Fuzz(func(t *testing.T, a, b string) {
		r := &http.Request{RemoteAddr: "10.1.1.1:99", Header: http.Header{"X-Forwarded-For": {a, b}}}
		got := trusted.ClientAddr(r)
		if !got.IsValid() || got.Is4In6() || got.Zone() != "" {
			t.Errorf("%q, %q: %v", a, b, got)
		}
		r.RemoteAddr = "198.51.100.1:99"
		if got := trusted.ClientAddr(r); got != netip.MustParseAddr("198.51.100.1") {
			t.Errorf("%q, %q of a stranger: %v", a, b, got)
		}
	})
}
