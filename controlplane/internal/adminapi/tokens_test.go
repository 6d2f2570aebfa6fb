package adminapi_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// makeToken makes a token and answers its id.
func (f *fixture) makeToken(body string) string {
	f.t.Helper()
	return at(f.must("POST", "/admin/tokens", body), "clientToken", "id").(string)
}

func TestTokenLife(t *testing.T) {
	f := start(t)
	made := f.must("POST", "/admin/tokens", `{"name":"ci","expiresIn":60,"provider":"ollama","models":["llama*"]}`)
	secret, id := made["token"].(string), at(made, "clientToken", "id").(string)
	if !strings.HasPrefix(secret, "sk-pool-") || len(secret) != 57 {
		t.Errorf("a token of %d characters", len(secret))
	}
	parsed, err := pool.ParseTokenID(id)
	if err != nil {
		t.Fatal(err)
	}
	if kept, ok := f.pool.Token(parsed); !ok || kept.Hash != sha256.Sum256([]byte(secret)) {
		t.Error("what is kept is not the digest")
	}
	listed := f.must("GET", "/admin/tokens", "")
	if strings.Contains(fmt.Sprint(listed), secret) {
		t.Error("the list shows the secret")
	}
	first := list(listed, "clientTokens")[0]
	f.want(first, "active", "status")
	f.want(first, "sk-pool-…"+secret[53:], "display")
	f.want(first, "0", "stats", "clientError")
	f.pass(time.Minute)
	f.want(list(f.must("GET", "/admin/tokens", ""), "clientTokens")[0], "expired", "status")
	f.refuse("DELETE", "/admin/tokens?provider=openrouter", `{"id":"`+id+`"}`, 404, "TOKEN_NOT_FOUND", "")
	f.must("DELETE", "/admin/tokens", `{"token":"`+secret+`"}`)
	f.refuse("DELETE", "/admin/tokens", `{"token":"`+secret+`"}`, 404, "TOKEN_NOT_FOUND", "")
	f.must("DELETE", "/admin/tokens", `{"id":"`+f.makeToken(`{"name":"x"}`)+`"}`)
	f.want(f.must("GET", "/admin/tokens", ""), "0", "total")
}

func TestTokenRefusals(t *testing.T) {
	f := start(t)
	for _, row := range []struct {
		method, body  string
		status        int
		reason, names string
	}{
		{"POST", `{}`, 400, "INVALID_ARGUMENT", "name"},
		{"POST", `{"name":"` + strings.Repeat("canary", 40) + `"}`, 400, "INVALID_ARGUMENT", "name"},
		{"POST", `{"name":"canary\n"}`, 400, "INVALID_ARGUMENT", "name"},
		{"POST", `{"name":"can\u0007ary"}`, 400, "INVALID_ARGUMENT", "name"},
		{"POST", `{"name":"x","expiresIn":-1}`, 400, "INVALID_ARGUMENT", "expiresIn"},
		{"POST", `{"name":"x","provider":"nobody"}`, 404, "PROVIDER_NOT_FOUND", "provider"},
		{"POST", `{"name":"x","models":["canary b"]}`, 400, "INVALID_ARGUMENT", "models[0]"},
		{"POST", `{"name":"x","token":"sk-canary"}`, 400, "INVALID_ARGUMENT", "token: must have 25"},
		{"POST", `{"name":"x","token":"canary-0123456789-0123456789"}`, 400, "INVALID_ARGUMENT", "token: must begin with sk-"},
		{"POST", `{"name":"x","token":"sk-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}`, 400, "INVALID_ARGUMENT", "token: could be guessed"},
		{"POST", `{"name":"x","token":"sk-canary 0123456789abcdefghijkl"}`, 400, "INVALID_ARGUMENT", "token: must have 25"},
		{"POST", `{"name":"x","token":"sk-pool-0123456789abcdefghijklcanary"}`, 400, "INVALID_ARGUMENT", "checksum is wrong"},
		{"POST", `{"name":"x","token":42}`, 400, "MALFORMED_BODY", "token: must be a text"},
		{"DELETE", `{}`, 400, "INVALID_ARGUMENT", "id"},
		{"DELETE", `{"id":"t_0000000000000","token":"sk-canary"}`, 400, "INVALID_ARGUMENT", "one of both"},
		{"DELETE", `{"id":"canary"}`, 404, "TOKEN_NOT_FOUND", ""},
		{"DELETE", `{"token":"sk-canary"}`, 404, "TOKEN_NOT_FOUND", ""},
	} {
		f.refuse(row.method, "/admin/tokens", row.body, row.status, row.reason, row.names)
	}
	f.want(f.must("GET", "/admin/tokens", ""), "0", "total")
}

func TestTokenPages(t *testing.T) {
	f := start(t)
	for i := range 11 {
		f.makeToken(fmt.Sprintf(`{"name":"%02d","provider":"%s"}`, i, []string{"", "ollama", "openrouter"}[i%3]))
		f.pass(time.Duration(i%2) * time.Second) // some are made at the same moment
	}
	var names []string
	for token := ""; ; {
		page := f.must("GET", "/admin/tokens?pageSize=4&pageToken="+token, "")
		f.want(page, "11", "total")
		for _, c := range list(page, "clientTokens") {
			names = append(names, c["name"].(string))
		}
		if token = page["nextPageToken"].(string); token == "" {
			break
		}
	}
	if len(names) != 11 || names[0] > "01" || names[10] < "09" {
		t.Errorf("got %v", names)
	}
	f.want(f.must("GET", "/admin/tokens?provider=ollama", ""), "8", "total")
}
