package rest_test

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"ollama-api-pool/controlplane/internal/rest"
)

func TestLoginComesFirst(t *testing.T) {
	f := start(t)
	for _, row := range []struct{ method, target, body string }{
		{"GET", "/admin/api-keys", ""},
		{"GET", "/admin/nothing", ""},
		{"PUT", "/admin/api-keys", ""},
		{"POST", "/admin/api-keys", "not json"},
		{"GET", "/admin/stats?colour=red", ""},
	} {
		got := f.do(row.method, row.target, row.body, func(r *http.Request) { r.Header.Del("Authorization") })
		if got.StatusCode != 401 || !strings.HasPrefix(got.Header.Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("%s %s without a token: got %d", row.method, row.target, got.StatusCode)
		}
	}
	got := f.do("GET", "/admin/api-keys", "", func(r *http.Request) { r.Header.Add("Authorization", "Bearer good") })
	if got.StatusCode != 400 {
		t.Errorf("two Authorization headers: got %d", got.StatusCode)
	}
	if f.services.asked != nil {
		t.Error("a service was asked")
	}
}

func TestOpenPages(t *testing.T) {
	broken := errors.New(canary)
	f := start(t, func(c *rest.Config) {
		c.Health = func() rest.Health {
			return rest.Health{Status: "degraded", Providers: map[string]rest.ProviderHealth{"ollama": {Enabled: true}}}
		}
		c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("up 1\n")) })
		c.Ready = func() error { return broken }
	})
	for _, row := range []struct {
		target string
		status int
		body   string
	}{
		{"/health", 200, `{"status":"degraded","version":"v1.2.3","providers":{"ollama":{"enabled":true,"configured":false}}}`},
		{"/healthz", 200, `{"status":"ok"}`},
		{"/readyz", 503, `{"status":"not ready"}`},
		{"/metrics", 200, "up 1"},
		{"/", 200, `"openapi":"/openapi.json"`},
		{"/openapi.json", 200, `"swagger": "2.0"`},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			got := f.do(method, row.target, "", func(r *http.Request) { r.Header.Del("Authorization") })
			if body := text(t, got); got.StatusCode != row.status || !strings.Contains(body, row.body) {
				t.Errorf("%s %s: got %d %s", method, row.target, got.StatusCode, body)
			}
		}
	}
	f.log.Reset() // not ready is logged with its cause, which is for the operator's eyes
	broken = nil
	if got := f.do("GET", "/readyz", ""); got.StatusCode != 200 {
		t.Errorf("ready: got %d", got.StatusCode)
	}
}

func TestHostsAndOrigins(t *testing.T) {
	f := start(t, func(c *rest.Config) { c.AllowedHosts = []string{"Pool.example", "other.example:7601"} })
	for _, row := range []struct {
		host, origin, site string
		want               int
	}{
		{"localhost:7601", "", "", 200},
		{"127.0.0.1:7601", "", "", 200},
		{"[::1]:7601", "", "", 200},
		{"pool.localhost", "", "", 200},
		{"10.1.2.3:7601", "", "", 200},
		{"pool.example", "", "", 200},
		{"POOL.example.:7601", "", "", 200},
		{"other.example", "", "", 200},
		{"evil.example", "", "", 403},
		{"pool.example.evil.example", "", "", 403},
		{"", "", "", 403},
		{"localhost.evil.example:7601", "", "", 403},
		{"127.0.0.1.evil.example", "", "", 403},
		{"localhost:7601", "https://evil.example", "", 403},
		{"localhost:7601", "", "cross-site", 403},
		{"localhost:7601", "", "same-site", 403},
		{"localhost:7601", "http://localhost:7601", "same-origin", 200},
		{"localhost:7601", "null", "", 403},
	} {
		got := f.do("DELETE", "/admin/api-keys", "{}", func(r *http.Request) {
			r.Host = row.host
			if row.origin != "" {
				r.Header.Set("Origin", row.origin)
			}
			if row.site != "" {
				r.Header.Set("Sec-Fetch-Site", row.site)
			}
		})
		if got.StatusCode != row.want {
			t.Errorf("host %q origin %q site %q: got %d, want %d", row.host, row.origin, row.site, got.StatusCode, row.want)
		}
		if row.want == 403 && decodeFailure(t, got).reason() != "PERMISSION_DENIED" {
			t.Errorf("host %q: no reason", row.host)
		}
	}
}

func TestPanics(t *testing.T) {
	f := start(t, func(c *rest.Config) {
		c.Health = func() rest.Health { panic("holds " + canary) }
		c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("begun"))
			panic("late")
		})
	})
	got := f.do("GET", "/health", "")
	id := got.Header.Get("X-Request-Id")
	if e := decodeFailure(t, got); got.StatusCode != 500 || e.reason() != "INTERNAL" || !strings.Contains(e.Message, id) {
		t.Errorf("got %d %v", got.StatusCode, e)
	}
	if !strings.Contains(f.log.String(), "request_id="+id) || !strings.Contains(f.log.String(), "guard_test.go") {
		t.Errorf("the log does not lead to the fault: %s", f.log)
	}
	defer func() {
		if recover() != any(http.ErrAbortHandler) {
			t.Error("an answer that had begun was not broken off")
		}
	}()
	f.do("GET", "/metrics", "")
}

func TestLogLine(t *testing.T) {
	f := start(t, func(c *rest.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	f.do("GET", "/admin/api-keys/"+canary+"?provider="+canary, "", func(r *http.Request) {
		r.RemoteAddr = "10.0.0.1:5"
		r.Header.Add("X-Forwarded-For", "203.0.113.66, 198.51.100.7")
		r.Header.Add("X-Forwarded-For", "10.0.0.2")
	})
	line := f.log.String()
	for _, want := range []string{"method=GET", "route=/admin/api-keys/{id}", "remote=198.51.100.7", "request_id="} {
		if !strings.Contains(line, want) {
			t.Errorf("no %s in %s", want, line)
		}
	}
	f.log.Reset()
	f.do("GET", "/health", "", func(r *http.Request) {
		r.RemoteAddr = "192.0.2.1:5"
		r.Header.Set("X-Forwarded-For", "203.0.113.66")
	})
	if !strings.Contains(f.log.String(), "remote=192.0.2.1") {
		t.Errorf("a stranger's X-Forwarded-For was believed: %s", f.log)
	}
}
