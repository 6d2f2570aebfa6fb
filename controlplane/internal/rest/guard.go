package rest

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// guarded is what protects every page, whoever asks. There are no CORS headers anywhere: no web page of somebody else has
// business here.
func guarded(c Config, next http.Handler) http.Handler {
	hosts := newHosts(c.AllowedHosts)
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		if !hosts.allow(r.Host) {
			forbidden("the control plane is not known under this host name: add it to --admin-hosts").write(w)
			return
		}
		if origins.Check(r) != nil {
			forbidden("a page of another site sent this request").write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hosts are the names the server answers to. A page of somebody else can make its own name point here (DNS rebinding), but
// then that name is in the Host header. Plain addresses are always allowed: a browser sends one only to a page that was
// opened by that very address.
type hosts map[string]bool

func newHosts(configured []string) hosts {
	known := hosts{"localhost": true}
	for _, name := range configured {
		known[hostName(name)] = true
	}
	return known
}

func (h hosts) allow(host string) bool {
	name := hostName(host)
	if h[name] || strings.HasSuffix(name, ".localhost") {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil
}

func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// remoteOf answers the client's address: the peer's, or, behind trusted proxies, the nearest one that is none of them.
func remoteOf(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr) // in memory there is none: the zero Addr
	addr := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			break
		}
		next, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		addr = next.Unmap()
	}
	return addr
}
