package adminapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"ollama-api-pool/controlplane/internal/adminapi"
	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
)

func TestRoles(t *testing.T) {
	f := start(t)
	type request struct{ method, target, body string }
	reads := []request{
		{"GET", "/admin/api-keys", ""},
		{"GET", "/admin/api-keys/k_0000000000000", ""},
		{"GET", "/admin/tokens", ""},
		{"GET", "/admin/providers", ""},
		{"GET", "/admin/providers/ollama", ""},
		{"GET", "/admin/nodes", ""},
		{"GET", "/admin/nodes/x", ""},
		{"GET", "/admin/stats", ""},
		{"GET", "/admin/keys/stats", ""},
		{"GET", "/admin/public-stats", ""},
		{"GET", "/admin/cache/stats", ""},
	}
	operates := []request{
		{"POST", "/admin/api-keys", "{}"},
		{"DELETE", "/admin/api-keys", "{}"},
		{"PATCH", "/admin/api-keys/k_0000000000000", "{}"},
		{"DELETE", "/admin/api-keys/k_0000000000000", ""},
		{"POST", "/admin/keys/enable", "{}"},
		{"POST", "/admin/keys/disable", "{}"},
		{"POST", "/admin/tokens", "{}"},
		{"PATCH", "/admin/tokens/t_0000000000000", "{}"},
		{"DELETE", "/admin/tokens", "{}"},
		{"POST", "/admin/api-keys/import", "{}"},
		{"POST", "/admin/api-keys/import-from-txt", "{}"},
		{"POST", "/admin/api-keys/import-with-validation", "{}"},
		{"POST", "/admin/api-keys/k_0000000000000:restore", ""},
		{"POST", "/admin/keys/health-check", "{}"},
		{"POST", "/admin/verify-key", "{}"},
		{"POST", "/admin/cache/clear", "{}"},
		{"POST", "/admin/nodes/x:drain", "{}"},
		{"POST", "/admin/nodes/x:resume", "{}"},
	}
	owns := []request{
		{"POST", "/admin/providers", "{}"},
		{"PATCH", "/admin/providers/ollama", "{}"},
		{"DELETE", "/admin/providers/openrouter", ""},
		{"POST", "/admin/nodes/join-tokens", "{}"},
		{"POST", "/admin/nodes/x:evict", "{}"},
	}
	for _, row := range []struct {
		role   string
		may    []request
		mayNot []request
		status int
		reason string
	}{
		{"", nil, slices.Concat(reads, operates, owns), 401, "UNAUTHENTICATED"},
		{"nobody", nil, reads[:1], 401, "UNAUTHENTICATED"},
		{"viewer", reads, slices.Concat(operates, owns), 403, "PERMISSION_DENIED"},
		{"operator", slices.Concat(reads, operates), owns, 403, "PERMISSION_DENIED"},
		{"admin", slices.Concat(reads, operates, owns), nil, 0, ""},
	} {
		f.role = row.role
		for i, r := range row.mayNot {
			if row.status == 401 && i >= 9 {
				break // more failures are slowed, which is another test
			}
			f.refuse(r.method, r.target, r.body, row.status, row.reason, "")
			if row.status == 401 {
				f.pass(6 * time.Second)
			}
		}
		for _, r := range row.may {
			if code, o := f.call(r.method, r.target, r.body); code == 401 || code == 403 || code == 405 || strings.Contains(fmt.Sprint(o), "NO_SUCH_ENDPOINT") {
				t.Errorf("%s: %s %s: got %d %v", row.role, r.method, r.target, code, o)
			}
		}
	}
}

// TestFailedLogins: failures are slowed, a valid token is not.
func TestFailedLogins(t *testing.T) {
	f := start(t)
	f.role = "wrong"
	for range 10 {
		f.refuse("GET", "/admin/stats", "", 401, "UNAUTHENTICATED", "Authorization")
	}
	f.refuse("GET", "/admin/stats", "", 429, "UNAUTHENTICATED", "wait")
	f.role = "viewer"
	f.must("GET", "/admin/stats", "")
	f.role = "wrong"
	f.pass(6 * time.Second)
	f.refuse("GET", "/admin/stats", "", 401, "UNAUTHENTICATED", "")
}

// A service that nobody has given a policy must not be reachable: this is read from the server itself.
func TestEveryMethodHasAPolicy(t *testing.T) {
	server := grpc.NewServer()
	adminapi.New(adminapi.Config{}).Register(server)
	services := server.GetServiceInfo()
	if len(services) != 7 {
		t.Errorf("%d services, want 7", len(services))
	}
	methods := 0
	for name, info := range services {
		for _, m := range info.Methods {
			methods++
			if !adminapi.HasPolicy("/" + name + "/" + m.Name) {
				t.Errorf("%s/%s has no policy", name, m.Name)
			}
		}
	}
	if methods != adminapi.Policies() {
		t.Errorf("%d methods but %d policies: some are of methods that are gone", methods, adminapi.Policies())
	}
}

func TestStoppingAndFaults(t *testing.T) {
	f := start(t, func(c *adminapi.Config) { c.Stats = faulty{} })
	id := f.addKeyDirectly()
	o := f.refuse("GET", "/admin/api-keys/"+id, "", 500, "INTERNAL", "request id")
	requestID := o["message"].(string)[strings.LastIndex(o["message"].(string), " ")+1:]
	if len(requestID) != 16 || strings.Count(f.log.String(), requestID) < 2 {
		t.Errorf("the log does not lead from %q to the fault", requestID)
	}
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	f.refuse("DELETE", "/admin/api-keys/"+id, "", 503, "STOPPING", "")
}

// faulty are figures that panic, with a secret.
type faulty struct{ adminapi.Figures }

func (faulty) Key(pool.KeyID) stats.KeyStats { panic(fmt.Errorf("holds %s", canary)) }
