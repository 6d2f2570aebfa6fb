package system

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"ollama-api-pool/test/fakellm"
)

// scenes are what can happen to a request: the keys that serve it, of which the first is tried first. Each client has its own
// set, with models named client/scene that no other key serves, so that no client spoils another one's keys.
var scenes = map[string][]fakellm.Behaviour{
	"good":     {{}},
	"slow":     {{Chunks: 500, ChunkInterval: 20 * time.Millisecond}},
	"silent":   {{Hang: true}},
	"refused":  {{Status: 400}},
	"limited":  {{Status: 429, RetryAfter: "30"}},
	"cooling":  {{Status: 429, RetryAfter: "3", CoolUntilRetryAfter: true}}, // longer than the pool itself waits
	"dead":     {{Status: 401}},
	"cut":      {{Chunks: 10, TruncateAfter: 6}},
	"early":    {{Chunks: 10, EndEarlyAfter: 6}},
	"breaks":   {{Chunks: 10, ErrorAfter: 6, ErrorCode: 429}},
	"failover": {{Status: 401}, {}},
	"stumbles": {{FirstEventError: true}, {}},
}

// gone is a model that the good key may serve and the upstream does not have.
const gone = "gone"

// modelsOf are the models that the upstream has for these clients.
func modelsOf(clients []client) (models []string) {
	for _, c := range clients {
		for scene := range scenes {
			models = append(models, c.name+"/"+scene)
		}
	}
	slices.Sort(models)
	return models
}

// stage is a fleet with the scenes of all clients set up.
type stage struct {
	*fleet
	secrets []string
	tokens  map[string]string // by client
	ledger  string            // where the upstream's ledger is read
}

func newStage(f *fleet, clients []client) *stage {
	f.t.Helper()
	s := &stage{fleet: f, tokens: map[string]string{}}
	for _, c := range clients {
		s.tokens[c.name] = f.addToken(c.name)
		for scene, keys := range scenes {
			models := []string{c.name + "/" + scene}
			if scene == "good" {
				models = append(models, c.name+"/"+gone)
			}
			for priority, b := range keys {
				s.addKey(b, models, priority)
			}
		}
	}
	web := httptest.NewServer(http.HandlerFunc(s.serveLedger))
	f.t.Cleanup(web.Close)
	s.ledger = web.URL
	return s
}

func (s *stage) addKey(b fakellm.Behaviour, models []string, priority int) {
	s.t.Helper()
	key := secret(len(s.secrets))
	s.secrets = append(s.secrets, key)
	s.behave(key, b)
	list, err := json.Marshal(models)
	if err != nil {
		s.t.Fatal(err)
	}
	s.admin("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":%q,"models":%s,"priority":%d}`, key, list, priority), nil)
}

// serveLedger answers the entries of one model.
func (s *stage) serveLedger(w http.ResponseWriter, r *http.Request) {
	_ = json.NewEncoder(w).Encode(s.entries(r.URL.Query().Get("model"))) // who does not get it fails
}

func (s *stage) entries(model string) []fakellm.Entry {
	entries := s.upstream.Ledger()
	entries = slices.DeleteFunc(entries, func(e fakellm.Entry) bool { return e.Model != model })
	for i := range entries {
		entries[i].Answer = nil // of no use to the clients, and large
	}
	return entries
}

// wantCancels holds what was counted as left by the client against what the upstream saw, per client.
func (s *stage) wantCancels(ran []string) {
	s.t.Helper()
	s.settle()
	var list struct {
		ClientTokens []struct {
			Name  string
			Stats struct{ Canceled int }
		}
	}
	s.admin("GET", "/admin/tokens?pageSize=1000", "", &list)
	counted := map[string]int{}
	for _, token := range list.ClientTokens {
		counted[token.Name] = token.Stats.Canceled
	}
	seen := map[string]int{}
	for _, e := range s.upstream.Ledger() {
		if name, _, ok := strings.Cut(e.Model, "/"); ok && e.Outcome == fakellm.Canceled {
			seen[name]++
		}
	}
	for _, name := range ran {
		if counted[name] != seen[name] || seen[name] == 0 {
			s.t.Errorf("%s: counted %d requests that the client left, the upstream saw %d", name, counted[name], seen[name])
		}
	}
}
