package rest_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"ollama-api-pool/controlplane/internal/caller"
	"ollama-api-pool/controlplane/internal/rest"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// TestRefusals: what is refused before any service is asked, and how. No message quotes what was sent.
func TestRefusals(t *testing.T) {
	f := start(t)
	const secret = `"` + canary + `"`
	for _, row := range []struct {
		method, target, body string
		status               int
		reason, names        string
	}{
		{"GET", "/admin/nothing", "", 404, "NO_SUCH_ENDPOINT", "openapi"},
		{"GET", "/nothing", "", 404, "NO_SUCH_ENDPOINT", ""},
		{"GET", "/admin/api-keys/", "", 404, "NO_SUCH_ENDPOINT", ""},
		{"GET", "//admin/api-keys", "", 404, "NO_SUCH_ENDPOINT", ""},
		{"GET", "/admin/../metrics", "", 404, "NO_SUCH_ENDPOINT", ""},
		{"GET", "/admin/api-keys/a%2Fb", "", 404, "NO_SUCH_ENDPOINT", ""},
		{"GET", "/admin/api-keys/%ff", "", 404, "NO_SUCH_ENDPOINT", ""},
		{"GET", "/admin/api-keys?search=%ff", "", 400, "INVALID_ARGUMENT", "search"},
		{"PUT", "/admin/api-keys", "{}", 405, "METHOD_NOT_ALLOWED", ""},
		{"OPTIONS", "/admin/api-keys", "", 405, "METHOD_NOT_ALLOWED", ""},
		{"HEAD", "/admin/api-keys", "", 405, "METHOD_NOT_ALLOWED", ""},
		{"GET", "/admin/keys/disable", "", 405, "METHOD_NOT_ALLOWED", ""},
		{"GET", "/admin/api-keys/import", "", 405, "METHOD_NOT_ALLOWED", ""},
		{"DELETE", "/admin/api-keys/import-from-txt", "", 405, "METHOD_NOT_ALLOWED", ""},
		{"DELETE", "/admin/api-keys/k_1:restore", "", 405, "METHOD_NOT_ALLOWED", ""},
		{"POST", "/health", "", 405, "METHOD_NOT_ALLOWED", ""},

		{"GET", "/admin/api-keys?colour=" + canary, "", 400, "INVALID_ARGUMENT", "colour"},
		{"GET", "/admin/api-keys?" + canary + "=1", "", 400, "INVALID_ARGUMENT", "unknown parameter"},
		{"GET", "/admin/api-keys?pageSize=" + canary, "", 400, "INVALID_ARGUMENT", "pageSize"},
		{"GET", "/admin/api-keys?pageSize=1&page_size=2", "", 400, "INVALID_ARGUMENT", "more than once"},
		{"GET", "/admin/api-keys?status=active&status=cooling", "", 400, "INVALID_ARGUMENT", "status"},
		{"GET", "/admin/api-keys?wait=3", "", 400, "INVALID_ARGUMENT", "wait"},
		{"GET", "/admin/api-keys?search=%zz" + canary, "", 400, "INVALID_ARGUMENT", "query"},
		{"POST", "/admin/api-keys?label=x", "{}", 400, "INVALID_ARGUMENT", "label"},
		{"POST", "/admin/api-keys?provider=%00canary", "{}", 400, "INVALID_ARGUMENT", "provider"},
		{"PATCH", "/admin/api-keys/k_1?updateMask=label", "{}", 400, "INVALID_ARGUMENT", "updateMask"},
		{"GET", "/admin/api-keys/k_1?id=k_2", "", 400, "INVALID_ARGUMENT", "id"},

		{"POST", "/admin/api-keys", `{"apiKey":` + secret + `,"labell":"x"}`, 400, "MALFORMED_BODY", "labell: unknown field (line 1, column 51)"},
		{"POST", "/admin/api-keys", `{` + secret + `:1}`, 400, "MALFORMED_BODY", "unknown field"},
		{"POST", "/admin/api-keys", `{"apiKey":[` + secret + `]}`, 400, "MALFORMED_BODY", "apiKey: must be a text"},
		{"POST", "/admin/api-keys", `{"apiKey":17}`, 400, "MALFORMED_BODY", "apiKey"},
		{"POST", "/admin/api-keys", `{"weight":` + secret + `}`, 400, "MALFORMED_BODY", "weight"},
		{"POST", "/admin/api-keys", `{"weight":"5"}`, 400, "MALFORMED_BODY", "weight"},
		{"POST", "/admin/api-keys", `{"weight":1.5}`, 400, "MALFORMED_BODY", "weight: must be a whole number"},
		{"POST", "/admin/api-keys", `{"weight":4294967296}`, 400, "MALFORMED_BODY", "weight"},
		{"POST", "/admin/api-keys", `{"ttl":"NaN"}`, 400, "MALFORMED_BODY", "ttl"},
		{"POST", "/admin/api-keys", `{"ttl":1e999}`, 400, "MALFORMED_BODY", "ttl"},
		{"POST", "/admin/api-keys", `{"models":` + secret + `}`, 400, "MALFORMED_BODY", "models: must be a list"},
		{"POST", "/admin/api-keys", `{"models":["a",null]}`, 400, "MALFORMED_BODY", "models[1]"},
		{"POST", "/admin/api-keys", `{"label":"a","label":"b"}`, 400, "MALFORMED_BODY", "label: given twice"},
		{"POST", "/admin/api-keys", `{"apiKey":"a","api_key":"b"}`, 400, "MALFORMED_BODY", "apiKey: given twice"},
		{"POST", "/admin/api-keys", `{"label":"a"} {}`, 400, "MALFORMED_BODY", "line 1, column 15"},
		{"POST", "/admin/api-keys", `{"label":"a"}x`, 400, "MALFORMED_BODY", "not JSON"},
		{"POST", "/admin/api-keys", "{\"label\":\n  \"" + canary, 400, "MALFORMED_BODY", "line 2"},
		{"POST", "/admin/api-keys", canary, 400, "MALFORMED_BODY", "line 1, column 1"},
		{"POST", "/admin/api-keys", secret, 400, "MALFORMED_BODY", "object"},
		{"POST", "/admin/api-keys", `null`, 400, "MALFORMED_BODY", "object"},
		{"POST", "/admin/api-keys", `[{}]`, 400, "MALFORMED_BODY", "object"},
		{"POST", "/admin/api-keys", "{\"label\":\"\xff\"}", 400, "MALFORMED_BODY", "UTF-8"},
		{"POST", "/admin/api-keys", `{"label":"\ud800"}`, 400, "MALFORMED_BODY", "shape"},
		{"POST", "/admin/providers", `{"headers":{"a":{"b":` + secret + `}}}`, 400, "MALFORMED_BODY", "headers"},
		{"POST", "/admin/providers", `{"headers":{"a":"1","a":"2"}}`, 400, "MALFORMED_BODY", "headers"},
		{"POST", "/admin/providers", `{"failover":{"maxTries":true}}`, 400, "MALFORMED_BODY", "failover.maxTries"},
		{"POST", "/admin/providers", `{"failover":7}`, 400, "MALFORMED_BODY", "failover"},
		{"POST", "/admin/providers", `{"enabled":"yes"}`, 400, "MALFORMED_BODY", "enabled: must be true or false"},
		{"PATCH", "/admin/api-keys/k_1", `{"expireTime":` + secret + `}`, 400, "MALFORMED_BODY", "expireTime: must be a time"},
		{"PATCH", "/admin/api-keys/k_1", `{"expireTime":17}`, 400, "MALFORMED_BODY", "expireTime"},
		{"PATCH", "/admin/api-keys/k_1", `{"id":` + secret + `}`, 400, "INVALID_ARGUMENT", "id"},
		{"POST", "/admin/api-keys", `{"label":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "BODY_TOO_LARGE", "1048576"},
	} {
		got := f.do(row.method, row.target, row.body)
		name := fmt.Sprintf("%s %s %.80s", row.method, row.target, row.body)
		if got.StatusCode != row.status {
			t.Errorf("%s: got %d, want %d", name, got.StatusCode, row.status)
		}
		e := decodeFailure(t, got)
		if e.reason() != row.reason || !strings.Contains(e.Message, row.names) {
			t.Errorf("%s: got %s %q, want %s naming %q", name, e.reason(), e.Message, row.reason, row.names)
		}
		if f.services.asked != nil {
			t.Errorf("%s: a service was asked", name)
			f.services.asked = nil
		}
	}
}

func TestAllow(t *testing.T) {
	f := start(t)
	for _, row := range []struct{ target, allow string }{
		{"/admin/api-keys", "DELETE, GET, POST"},
		{"/admin/api-keys/k_1", "DELETE, GET, PATCH"},
		{"/admin/nodes/join-tokens", "POST"},
		{"/admin/stats", "GET"},
		{"/health", "GET, HEAD"},
	} {
		if got := f.do("PUT", row.target, "").Header.Get("Allow"); got != row.allow {
			t.Errorf("%s: Allow %q, want %q", row.target, got, row.allow)
		}
	}
}

func TestMediaTypes(t *testing.T) {
	f := start(t)
	f.services.answer = func(string) (any, error) { return &adminv1.CreateKeyResponse{Created: true}, nil }
	for _, row := range []struct {
		contentType, encoding string
		want                  int
	}{
		{"application/json", "", 200},
		{"application/json; charset=UTF-8", "", 200},
		{"", "", 200},
		{"application/json", "identity", 200},
		{"application/x-www-form-urlencoded", "", 415},
		{"multipart/form-data; boundary=x", "", 415},
		{"text/plain", "", 415},
		{"application/json; charset=utf-16", "", 415},
		{"nonsense;;", "", 415},
		{"application/json", "gzip", 415},
	} {
		got := f.do("POST", "/admin/api-keys", `{"apiKey":"`+canary+`"}`, func(r *http.Request) {
			r.Header.Set("Content-Type", row.contentType)
			r.Header.Set("Content-Encoding", row.encoding)
		})
		if got.StatusCode != row.want {
			t.Errorf("%q %q: got %d, want %d", row.contentType, row.encoding, got.StatusCode, row.want)
		}
		if row.want == 415 && row.encoding == "" {
			if e := decodeFailure(t, got); !strings.Contains(e.Message, "curl: --json") || e.reason() != "MALFORMED_BODY" {
				t.Errorf("%q: no advice: %v", row.contentType, e)
			}
		}
	}
}

func TestBodyWithoutLengthIsCapped(t *testing.T) {
	f := start(t)
	got := f.do("POST", "/admin/api-keys", `{"label":"`+strings.Repeat("x", 1<<20)+`"}`, func(r *http.Request) { r.ContentLength = -1 })
	if got.StatusCode != 413 {
		t.Errorf("got %d", got.StatusCode)
	}
}

// TestPassedOn: what the services get to know of a request, and what they do not.
func TestPassedOn(t *testing.T) {
	f := start(t, func(c *rest.Config) { c.MaxBody = 0 })
	f.services.answer = func(string) (any, error) { return &adminv1.DisableKeysResponse{}, nil }
	got := f.do("POST", "/admin/keys/disable?provider=openrouter&wait=2.5", `{"ids":["k_1"],"duration":5e0,"note":null}`, func(r *http.Request) {
		r.RemoteAddr = "192.0.2.4:999"
		for _, h := range []string{
			"Grpc-Metadata-X-Apipool-Remote", "Grpc-Metadata-Authorization", "Grpc-Metadata-Grpcgateway-Host", "X-Apipool-Remote",
			"X-Apipool-Provider", "Grpcgateway-Authorization", "Cookie", "X-Http-Method-Override", "X-Forwarded-For", "X-Forwarded-Host",
			"Grpc-Metadata-X-Apipool-Bin", "Te", "X-Forwarded-User",
		} {
			r.Header.Set(h, "canary")
		}
		r.Header.Set("Grpc-Timeout", "1n")
	})
	if got.StatusCode != 200 {
		t.Fatalf("got %d %s", got.StatusCode, text(t, got))
	}
	want := &adminv1.DisableKeysRequest{Ids: []string{"k_1"}, Duration: 5}
	if !proto.Equal(f.services.asked, want) {
		t.Errorf("asked %v, want %v", f.services.asked, want)
	}
	md := f.services.with
	for key, value := range map[string]string{
		"authorization": "Bearer good", caller.ProviderKey: "openrouter", caller.WaitKey: "2.5", caller.RemoteKey: "192.0.2.4",
		caller.RequestIDKey: got.Header.Get("X-Request-Id"),
	} {
		if !slices.Equal(md[key], []string{value}) {
			t.Errorf("metadata %s: got %q, want %q", key, md[key], value)
		}
	}
	for key, values := range md {
		if strings.Contains(strings.Join(values, " "), "canary") {
			t.Errorf("an HTTP header became metadata %s", key)
		}
	}
}

func TestQueryBecomesTheMessage(t *testing.T) {
	f := start(t)
	f.do("GET", "/admin/api-keys?provider=ollama&page_size=7&search=a%20b&pageToken=x", "")
	want := &adminv1.ListKeysRequest{Provider: "ollama", PageSize: 7, Search: "a b", PageToken: "x"}
	if !proto.Equal(f.services.asked, want) {
		t.Errorf("asked %v, want %v", f.services.asked, want)
	}
	f.services.answer = func(string) (any, error) { return &adminv1.GetKeyResponse{ApiKey: &adminv1.ApiKey{Id: "k_1"}}, nil }
	f.do("GET", "/admin/api-keys/k_1?provider=openrouter", "")
	if !proto.Equal(f.services.asked, &adminv1.GetKeyRequest{Id: "k_1"}) || f.services.with.Get(caller.ProviderKey)[0] != "openrouter" {
		t.Errorf("asked %v with %v", f.services.asked, f.services.with)
	}
}

func TestPatchMakesTheMask(t *testing.T) {
	f := start(t)
	f.services.answer = func(string) (any, error) { return &adminv1.UpdateKeyResponse{ApiKey: &adminv1.ApiKey{Id: "k_1"}}, nil }
	got := f.do("PATCH", "/admin/api-keys/k_1", `{"id":"k_1","label":"x","models":[],"expireTime":null,"revision":"7"}`)
	if body := text(t, got); got.StatusCode != 200 || !strings.HasPrefix(body, `{"id":"k_1"`) {
		t.Errorf("got %d %s", got.StatusCode, body)
	}
	asked := f.services.asked.(*adminv1.UpdateKeyRequest)
	if paths := asked.GetUpdateMask().GetPaths(); !slices.Equal(paths, []string{"expire_time", "id", "label", "models", "revision"}) {
		t.Errorf("mask is %v", paths)
	}
}

// TestAnswer: zero values are there, absent things are not, and every answer has the same guards.
func TestAnswer(t *testing.T) {
	f := start(t)
	f.services.answer = func(string) (any, error) {
		return &adminv1.ListKeysResponse{ApiKeys: []*adminv1.ApiKey{{Id: "k_1", Label: "<&>", Stats: &adminv1.KeyStats{Total: 12345678}}}}, nil
	}
	got := f.do("GET", "/admin/api-keys", "")
	want := `{"apiKeys":[{"id":"k_1","provider":"","label":"<&>","display":"","status":"","reason":"","models":[],"weight":0,"priority":0,` +
		`"regions":[],"stats":{"total":12345678,"success":0,"failure":0,"consecutiveFailures":0,"inputTokens":0,"outputTokens":0,"estimatedTokens":0,"unknown":0},` +
		`"holders":[],"revision":"","note":"","category":"","group":"","maxStale":0}],` +
		`"nextPageToken":"","total":0}` + "\n"
	if body := text(t, got); body != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
	guards := map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
	}
	for _, r := range []*http.Response{got, f.do("GET", "/health", ""), f.do("GET", "/admin/no", ""), f.do("GET", "/", ""), f.do("PUT", "/", "")} {
		for name, value := range guards {
			if r.Header.Get(name) != value {
				t.Errorf("%d: %s is %q, want %q", r.StatusCode, name, r.Header.Get(name), value)
			}
		}
		if len(r.Header.Get("X-Request-Id")) != 16 {
			t.Errorf("%d: no request id", r.StatusCode)
		}
		for name := range r.Header {
			if strings.HasPrefix(name, "Access-Control-") || strings.HasPrefix(name, "Grpc-") {
				t.Errorf("%d: header %s", r.StatusCode, name)
			}
		}
	}
}

func TestServiceErrors(t *testing.T) {
	f := start(t)
	ours, err := status.New(codes.Aborted, "changed since").WithDetails(
		&errdetails.ErrorInfo{Reason: "REVISION_CONFLICT", Domain: "ollama-api-pool"}, &adminv1.ApiKey{Id: "k_1"},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500e6)})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		err    error
		status int
		reason string
	}{
		{ours.Err(), 409, "REVISION_CONFLICT"},
		{status.Error(codes.InvalidArgument, "value "+canary), 400, "MALFORMED_BODY"},
		{status.Error(codes.Unavailable, canary), 503, "STOPPING"},
		{status.Error(codes.Unknown, canary), 500, "INTERNAL"},
		{status.Error(codes.Unimplemented, canary), 500, "INTERNAL"},
	} {
		f.services.answer = func(string) (any, error) { return nil, row.err }
		got := f.do("GET", "/admin/stats", "")
		if e := decodeFailure(t, got); got.StatusCode != row.status || e.reason() != row.reason {
			t.Errorf("%v: got %d %v", row.err, got.StatusCode, e)
		}
		if errors.Is(row.err, ours.Err()) && got.Header.Get("Retry-After") != "2" {
			t.Errorf("Retry-After is %q", got.Header.Get("Retry-After"))
		}
	}
}

func TestLargeMessagesPassTheHop(t *testing.T) {
	f := start(t, func(c *rest.Config) { c.MaxBody = 8 << 20 })
	f.services.answer = func(string) (any, error) { return &adminv1.CreateKeyResponse{}, nil }
	if got := f.do("POST", "/admin/api-keys", `{"label":"`+strings.Repeat("x", 5<<20)+`"}`); got.StatusCode != 200 {
		t.Errorf("up: got %d", got.StatusCode)
	}
	f.services.answer = func(string) (any, error) {
		return &adminv1.ListKeysResponse{NextPageToken: strings.Repeat("x", 5<<20)}, nil
	}
	if got := f.do("GET", "/admin/api-keys", ""); got.StatusCode != 200 {
		t.Errorf("down: got %d", got.StatusCode)
	}
}

func TestOpenAPICopy(t *testing.T) {
	const made, copied = "../../../gen/openapi/openapi.swagger.json", "openapi.json"
	want, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(copied)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s differs from %s: run `cp %s controlplane/internal/rest/openapi.json` (%v)", copied, made, "gen/openapi/openapi.swagger.json", err)
	}
}
