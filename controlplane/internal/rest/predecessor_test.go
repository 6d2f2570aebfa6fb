package rest_test

import (
	"net/http"
	"strings"
	"testing"

	"ollama-api-pool/controlplane/internal/rest"
)

// A secret that is put into a URL by mistake is in no log line and in no answer: routes are logged, not paths. The
// fixture looks at both.
func TestPredecessor_C8(t *testing.T) {
	f := start(t)
	for _, target := range []string{"/admin/api-keys/" + canary, "/admin/api-keys?search=" + canary, "/admin/" + canary, "/" + canary, "/?x=" + canary} {
		if body := text(t, f.do("GET", target, "")); strings.Contains(body, canary) {
			t.Errorf("%s", body)
		}
	}
	if strings.Contains(f.log.String(), canary) || !strings.Contains(f.log.String(), "/admin/api-keys/{id}") {
		t.Errorf("logged %s", f.log.String())
	}
}

// An error names the field and the place, never what stands there.
func TestPredecessor_C9(t *testing.T) {
	f := start(t)
	const line = "a@b.c----hunter2----" + canary
	for _, body := range []string{line, `"` + line + `"`, `{"` + line + `":1}`, `{"weight":"` + line + `"}`, `{"apiKey":"` + line, `{"models":["x",{"` + line + `":1}]}`} {
		got := f.do("POST", "/admin/api-keys", body)
		said := text(t, got)
		if got.StatusCode != 400 || !strings.Contains(said, "(line 1, column ") || strings.Contains(said, "hunter2") || strings.Contains(said, "a@b.c") {
			t.Errorf("%s: got %d %s", body, got.StatusCode, said)
		}
	}
}

// The admin API has no CORS headers at all, whoever asks for what.
func TestPredecessor_C10(t *testing.T) {
	f := start(t)
	for _, method := range []string{"GET", "POST", "OPTIONS"} {
		for _, target := range []string{"/", "/health", "/openapi.json", "/admin/api-keys", "/nothing"} {
			got := f.do(method, target, "", func(r *http.Request) {
				r.Header.Set("Origin", "https://evil.example")
				r.Header.Set("Access-Control-Request-Method", "POST")
			})
			for name := range got.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s %s: %s", method, target, name)
				}
			}
		}
	}
}

// Whoever is not logged in learns whether it is up and which providers there are to ask, and no number.
func TestPredecessor_C17(t *testing.T) {
	f := start(t, func(c *rest.Config) {
		c.Health = func() rest.Health {
			return rest.Health{Status: "ok", Providers: map[string]rest.ProviderHealth{"ollama": {Enabled: true, Configured: true}}}
		}
	})
	got := text(t, f.do("GET", "/health", "", func(r *http.Request) { r.Header.Del("Authorization") }))
	if want := `{"status":"ok","version":"v1.2.3","providers":{"ollama":{"enabled":true,"configured":true}}}`; strings.TrimSpace(got) != want {
		t.Errorf("got %s", got)
	}
}

func TestAfterAChunkedRequestTheConnectionIsClosed(t *testing.T) {
	f := start(t)
	got := f.do("POST", "/admin/api-keys", "{}", func(r *http.Request) { r.TransferEncoding = []string{"chunked"} })
	if got.Header.Get("Connection") != "close" {
		t.Errorf("got %v", got.Header)
	}
}
