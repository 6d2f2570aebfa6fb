package system

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"ollama-api-pool/test/fakellm"
)

// operator calls the REST API, and keeps every answer for the scan for secrets.
type operator struct {
	t        *testing.T
	base     string
	token    string
	client   *http.Client
	logs     *logs
	upstream *fakellm.Upstream
}

// admin calls REST and fails unless it answers 200.
func (o *operator) admin(method, path, body string, into any) {
	o.t.Helper()
	got := o.try(method, path, body)
	if !got.ok() {
		o.t.Fatalf("%s %s: %v", method, path, got)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(got.body), into); err != nil {
			o.t.Fatalf("%s %s: %v in %s", method, path, err, got.body)
		}
	}
}

func (o *operator) try(method, path, body string) answer {
	o.t.Helper()
	req, err := http.NewRequestWithContext(o.t.Context(), method, o.base+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	req.Host = "127.0.0.1"
	req.Header.Set("Authorization", "Bearer "+o.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return o.do(req)
}

func (o *operator) get(url string) answer {
	o.t.Helper()
	req, err := http.NewRequestWithContext(o.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	return o.do(req)
}

func (o *operator) do(req *http.Request) answer {
	resp, err := o.client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if req.URL.Path != "/admin/tokens" || req.Method != http.MethodPost { // the one answer that shows a secret, once
		o.logs.answer(text)
	}
	return answer{resp.StatusCode, string(text), resp.Header, err}
}

// answer is what a client got.
type answer struct {
	status int
	body   string
	header http.Header
	err    error
}

func (a answer) ok() bool { return a.err == nil && a.status == http.StatusOK }

func (a answer) String() string { return fmt.Sprintf("%d %v %.300s", a.status, a.err, a.body) }

// addKey adds a key that behaves so at the upstream, and answers its id.
func (o *operator) addKey(secret string, b fakellm.Behaviour) string {
	o.t.Helper()
	o.behave(secret, b)
	var made struct{ APIKey struct{ ID string } }
	o.admin("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":%q}`, secret), &made)
	return made.APIKey.ID
}

// behave has the upstream treat a key so from now on.
func (o *operator) behave(secret string, b fakellm.Behaviour) {
	o.t.Helper()
	if err := o.upstream.SetKey(secret, b); err != nil {
		o.t.Fatal(err)
	}
}

func (o *operator) addToken(name string) string {
	o.t.Helper()
	var made struct{ Token string }
	o.admin("POST", "/admin/tokens", fmt.Sprintf(`{"name":%q}`, name), &made)
	return made.Token
}

// figures are the overall ones.
type figures struct {
	TotalRequests, SuccessCount, FailureCount, UpstreamAttempts, AttemptFailures float64
	UnknownRequests, UnknownAttempts                                             float64
	TotalAPIKeys                                                                 float64 `json:"totalApiKeys"`
	ActiveKeys, FailedKeys                                                       float64
}

func (o *operator) stats() figures {
	o.t.Helper()
	var f figures
	o.admin("GET", "/admin/stats", "", &f)
	return f
}

func (o *operator) keyStatus(id string) (status, reason string) {
	o.t.Helper()
	var k struct{ Status, Reason string }
	o.admin("GET", "/admin/api-keys/"+id, "", &k)
	return k.Status, k.Reason
}

// keyOf answers the id of the key with these last four characters.
func (o *operator) keyOf(secret string) string {
	o.t.Helper()
	var list struct{ APIKeys []struct{ ID string } }
	o.admin("GET", "/admin/api-keys?search="+secret[len(secret)-4:], "", &list)
	if len(list.APIKeys) != 1 {
		o.t.Fatalf("%d keys end like this one", len(list.APIKeys))
	}
	return list.APIKeys[0].ID
}

// receipt is what a revocation answers.
type receipt struct {
	Receipt struct {
		Acknowledged, Pending []string
		Unreachable           []struct{ Node, StopsBy string }
	}
}

// secret makes the n-th upstream key of a test; no two end alike.
func secret(n int) string {
	return fmt.Sprintf("sk-upstream-canary-%016x%04d", 0x9e3779b97f4a7c15*uint64(n+1), n)
}

// quoted writes a text as JSON.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // texts can always be written
	}
	return string(b)
}
