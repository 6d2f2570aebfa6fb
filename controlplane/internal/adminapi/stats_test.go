package adminapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/adminapi"
	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
	"ollama-api-pool/controlplane/internal/store"
)

// counted are figures with something in them, of all keys and tokens alike.
type counted struct{ now func() time.Time }

func attempts(ok, failed uint64) (c stats.AttemptCounts) {
	c[stats.AttemptOK], c[stats.AttemptServerError], c[stats.AttemptClientError] = ok, failed, 1
	c[stats.AttemptInputTokens], c[stats.AttemptOutputTokens], c[stats.AttemptEstimatedTokens] = 700, 70, 7
	return c
}

func requests(ok, failed uint64) (c stats.RequestCounts) {
	c[stats.RequestOK], c[stats.RequestUpstreamError], c[stats.RequestClientError], c[stats.RequestCanceled] = ok, failed, 2, 3
	c[stats.RequestInputTokens], c[stats.RequestOutputTokens], c[stats.RequestEstimatedTokens] = 400, 40, 4
	c[stats.RequestFromCache] = 1
	return c
}

func (c counted) Key(pool.KeyID) stats.KeyStats {
	return stats.KeyStats{Counts: attempts(3, 1), LastUsed: c.now(), LastSuccess: c.now()}
}

func (c counted) KeyHours(_ pool.KeyID, now time.Time) []stats.KeyHour {
	hour := now.Truncate(time.Hour)
	return []stats.KeyHour{{Hour: hour.Add(-30 * time.Hour), Total: 9}, {Hour: hour.Add(-23 * time.Hour), Total: 5}, {Hour: hour, Total: 4, Success: 3, Failure: 1}}
}

func (c counted) KeyEvents(id pool.KeyID) ([]pool.Event, error) {
	now := c.now()
	return []pool.Event{
		{Key: id, Time: now, Status: pool.StatusCooling, Reason: pool.RateLimited, Until: now.Add(time.Minute)},
		{Key: id, Time: now, Node: "eu-1", Reason: pool.Recovered, Probe: true},
		{Key: id, Time: now, Node: "eu-1", Reason: pool.RateLimited, HTTPStatus: 429, Count: 2},
	}, nil
}

func (c counted) Token(pool.TokenID) stats.TokenStats {
	return stats.TokenStats{Counts: requests(5, 1), LastUsed: c.now()}
}

func (c counted) Providers() []stats.ProviderStats {
	return []stats.ProviderStats{
		{Provider: "gone", Attempts: attempts(1, 0), Requests: requests(1, 0)},
		{Provider: "ollama", Attempts: attempts(10, 2), Requests: requests(8, 2)},
	}
}

func (c counted) Models(provider pool.ProviderID, limit int) []stats.ModelStats {
	if provider == "openrouter" || limit != 100 && limit != 11 {
		return nil
	}
	list := []stats.ModelStats{{Provider: "ollama", Model: "llama3", Requests: requests(8, 2)}}
	if limit == 11 { // as the public sees it: the requests that named none come first
		list = append([]stats.ModelStats{{Provider: "ollama", Requests: requests(9, 0)}}, list...)
	}
	return list
}

func (c counted) Hours(_ pool.ProviderID, now time.Time) []stats.Hour {
	return []stats.Hour{{Hour: now.Truncate(time.Hour), Attempts: attempts(10, 2), Requests: requests(8, 2)}}
}

func TestStats(t *testing.T) {
	f := start(t, func(c *adminapi.Config) { c.Stats = counted{c.Now} })
	id := f.addKey("a", `,"label":"ann"`)
	f.addKey("b", `,"provider":"openrouter"`)
	f.makeToken(`{"name":"any"}`)
	f.makeToken(`{"name":"only","provider":"ollama"}`)

	all := f.must("GET", "/admin/stats", "")
	for name, want := range map[string]string{
		"totalApiKeys": "2", "activeKeys": "2", "failedKeys": "0", "totalClientTokens": "2", "totalRequests": "21", "successCount": "9",
		"failureCount": "2", "successRate": "0.8181818181818182", "upstreamAttempts": "15", "attemptFailures": "2",
		"inputTokens": "800", "outputTokens": "80", "estimatedTokens": "8",
	} {
		f.want(all, want, name)
	}
	for _, part := range []object{list(all, "providers")[1], list(all, "models")[0], list(all, "hours")[0]} {
		f.want(part, "400", "inputTokens")
		f.want(part, "40", "outputTokens")
		f.want(part, "4", "estimatedTokens")
	}
	f.want(list(all, "providers")[2], "0", "inputTokens")
	var order []any
	for _, p := range list(all, "providers") {
		order = append(order, p["provider"])
	}
	if len(order) != 3 || order[0] != "gone" || order[1] != "ollama" || order[2] != "openrouter" {
		t.Errorf("providers are %v", order)
	}
	f.want(list(all, "models")[0], "llama3", "model")
	f.want(list(all, "hours")[0], "2", "attemptFailures")
	one := f.must("GET", "/admin/stats?provider=openrouter", "")
	f.want(one, "1", "totalApiKeys")
	f.want(one, "1", "totalClientTokens")
	f.want(one, "<nil>", "successRate")
	f.refuse("GET", "/admin/stats?provider=nobody", "", 404, "PROVIDER_NOT_FOUND", "provider")

	keys := f.must("GET", "/admin/keys/stats?provider=ollama", "")
	f.want(keys, "1", "total")
	row := list(keys, "keys")[0]
	f.want(row, id, "id")
	f.want(row, "ann", "label")
	f.want(row, "active", "status")
	f.want(row, "5", "stats", "total")
	f.want(row, "0.75", "stats", "successRate")
	f.want(row, "<nil>", "stats", "lastFailureTime")
	f.want(row, "700", "stats", "inputTokens")
	f.want(row, "70", "stats", "outputTokens")
	f.want(row, "7", "stats", "estimatedTokens")
	if hours := list(row, "hours"); len(hours) != 2 || hours[1]["success"] != 3.0 {
		t.Errorf("hours are %v", hours)
	}
	history := f.must("GET", "/admin/api-keys/"+id+"/history", "")
	if hours := list(history, "hours"); len(hours) != 3 || hours[0]["total"] != 9.0 {
		t.Errorf("hours of the history are %v", hours)
	}
	for i, want := range []string{"status cooling rate_limited  0", "probe  recovered eu-1 0", "failure  rate_limited eu-1 429"} {
		e := list(history, "events")[i]
		if got := fmt.Sprint(e["kind"], " ", e["status"], " ", e["reason"], " ", e["node"], " ", e["httpStatus"]); got != want {
			t.Errorf("event %d is %q, want %q", i, got, want)
		}
	}
	f.refuse("GET", "/admin/api-keys/"+id+"/history?provider=openrouter", "", 404, "KEY_NOT_FOUND", "")
	f.refuse("GET", "/admin/api-keys/canary/history", "", 404, "KEY_NOT_FOUND", "")
	tokens := list(f.must("GET", "/admin/tokens", ""), "clientTokens")
	f.want(tokens[0], "11", "stats", "total")
	f.want(tokens[0], "2", "stats", "clientError")
	f.want(tokens[0], "3", "stats", "canceled")
	f.want(tokens[0], "400", "stats", "inputTokens")
	f.want(tokens[0], "40", "stats", "outputTokens")
	f.want(tokens[0], "4", "stats", "estimatedTokens")
	f.want(tokens[0], "1", "stats", "fromCache")
}

// calls counts how often figures are made.
type calls struct {
	counted
	n *int
}

func (c calls) Providers() []stats.ProviderStats {
	*c.n++
	return c.counted.Providers()
}

func TestPublicStats(t *testing.T) {
	made := 0
	for _, public := range []bool{false, true} {
		f := start(t, func(c *adminapi.Config) { c.Stats, c.PublicStats = calls{counted{c.Now}, &made}, public })
		f.addKey("a", `,"label":"ann"`)
		f.makeToken(`{"name":"any"}`)
		f.role = ""
		if !public {
			f.refuse("GET", "/admin/public-stats", "", 401, "UNAUTHENTICATED", "")
			f.role = "viewer"
		}
		all := f.must("GET", "/admin/public-stats", "")
		for name, want := range map[string]string{
			"totalRequests": "21", "successCount": "9", "failureCount": "2", "successRate": "0.8181818181818182",
		} {
			f.want(all, want, name)
		}
		f.want(list(all, "topModels")[0], "llama3", "model")
		hours := list(all, "hours")
		if len(hours) != 24 || hours[23]["totalRequests"] != 15.0 || hours[22]["totalRequests"] != 0.0 {
			t.Errorf("hours are %v", hours)
		}
		for _, secret := range []string{"apiKeys", "Keys", "Tokens", "upstreamAttempts", "ann", "any", "providers"} {
			if _, there := all[secret]; there {
				t.Errorf("it tells %s", secret)
			}
		}
		if told := fmt.Sprint(all); strings.Contains(told, "inputTokens") || strings.Contains(told, "outputTokens") {
			t.Errorf("it tells how much was used: %s", told)
		}
		f.want(f.must("GET", "/admin/public-stats?provider=openrouter", ""), "0", "totalRequests")
		f.refuse("GET", "/admin/public-stats?provider=nobody", "", 404, "PROVIDER_NOT_FOUND", "provider")
		f.refuse("GET", "/admin/public-stats?x=1", "", 400, "INVALID_ARGUMENT", "x: unknown parameter")

		before := made
		for range 50 {
			f.must("GET", "/admin/public-stats", "")
		}
		if made != before {
			t.Errorf("the figures were made %d times for 50 strangers", made-before)
		}
		f.pass(16 * time.Second)
		if next := f.must("GET", "/admin/public-stats", ""); next["asOfTime"] == all["asOfTime"] || made != before+1 {
			t.Errorf("made %d times after their time, as of %v", made-before, next["asOfTime"])
		}
		if public {
			f.role = "wrong" // whoever may see it without a credential may have a bad one
			f.must("GET", "/admin/public-stats", "")
			f.role = ""
			f.refuse("GET", "/admin/stats", "", 401, "UNAUTHENTICATED", "")
			f.refuse("POST", "/admin/public-stats", "{}", 401, "UNAUTHENTICATED", "")
		}
	}
}

// addKeyDirectly adds a key without asking the services.
func (f *fixture) addKeyDirectly() string {
	f.t.Helper()
	var k pool.Key
	f.update(func(tx *store.Tx) (err error) {
		k, err = tx.PutKey(pool.Key{Provider: "ollama", Secret: pool.NewSecret(secretOf("direct")), Weight: 1})
		return err
	})
	return k.ID.String()
}
