package cli_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"
)

// tokenNow answers the one token that there is, as the API has it.
func (term *terminal) tokenNow() map[string]any {
	term.t.Helper()
	out, _ := term.want(0, "tokens", "list", "-o", "json")
	var all struct {
		ClientTokens []map[string]any `json:"clientTokens"`
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all.ClientTokens) != 1 {
		term.t.Fatalf("%v: %s", err, out)
	}
	return all.ClientTokens[0]
}

func TestTokensWithBounds(t *testing.T) {
	term := start(t)
	term.want(0, "tokens", "create", "ci", "--requests-per-minute", "60", "--tokens-per-minute", "90000", "--max-concurrent", "4",
		"--allow-from", "10.1.2.3/8", "--allow-from", "::1", "--tenant", "team", "--cache", "off")
	token := term.tokenNow()
	id := fmt.Sprint(token["id"])
	for _, step := range []struct {
		args   []string
		fields map[string]string // what is changed; all else is as after the step before
		row    string
	}{
		{nil, map[string]string{
			"name": "ci", "limits": "map[maxConcurrent:4 policy:adaptive requestsPerMinute:60 tokensPerMinute:90000]",
			"allowedCidrs": "[10.0.0.0/8 ::1/128]", "tenant": "team", "cache": "false", "provider": "", "models": "[]", "expireTime": "<nil>",
		}, "60 req/min, 90000 tok/min, 4 at once, from 10.0.0.0/8 and 1 more  ci"},
		{
			[]string{"--max-concurrent", "0", "--tokens-per-minute", "1000000000"},
			map[string]string{"limits": "map[maxConcurrent:0 policy:adaptive requestsPerMinute:60 tokensPerMinute:1e+09]"},
			"60 req/min, 1000000000 tok/min, from 10.0.0.0/8 and 1 more  ci",
		},
		{
			[]string{"--allow-from", "192.0.2.7"},
			map[string]string{"allowedCidrs": "[192.0.2.7/32]"},
			"60 req/min, 1000000000 tok/min, from 192.0.2.7/32  ci",
		},
		{
			[]string{"--allow-from", "", "--requests-per-minute", "0", "--tokens-per-minute", "0"},
			map[string]string{"allowedCidrs": "[]", "limits": "map[maxConcurrent:0 policy:adaptive requestsPerMinute:0 tokensPerMinute:0]"},
			"-        -       ci",
		},
		{
			[]string{"--name", "other", "--provider", "ollama", "--model", "a*", "--model", "b*", "--tenant", "", "--cache", "on"},
			map[string]string{"name": "other", "provider": "ollama", "models": "[a* b*]", "tenant": "", "cache": "true"},
			"other",
		},
		{
			[]string{"--provider", "", "--model", "", "--cache", "default"},
			map[string]string{"provider": "", "models": "[]", "cache": "<nil>"},
			"other",
		},
	} {
		want := map[string]string{}
		for name := range token {
			want[name] = fmt.Sprint(token[name])
		}
		if step.args != nil {
			out, errs := term.want(0, append([]string{"tokens", "update", id}, step.args...)...)
			if !strings.Contains(out, step.row) || errs != "" {
				t.Errorf("%v: %s%s", step.args, out, errs)
			}
		}
		if out, _ := term.want(0, "tokens", "list"); !strings.Contains(out, step.row) {
			t.Errorf("%v: the list has no %q:\n%s", step.args, step.row, out)
		}
		token = term.tokenNow()
		maps.Copy(want, step.fields)
		for name, value := range want {
			if got := fmt.Sprint(token[name]); got != value && name != "revision" {
				t.Errorf("%v: %s is %s, want %s", step.args, name, got, value)
			}
		}
	}
	term.want(0, "tokens", "update", id, "--ttl", "1h")
	if fmt.Sprint(term.tokenNow()["expireTime"]) == "<nil>" {
		t.Error("it has no end")
	}
	term.want(0, "tokens", "update", id, "--ttl", "0")
	if got := fmt.Sprint(term.tokenNow()["expireTime"]); got != "<nil>" {
		t.Errorf("it still ends at %s", got)
	}
	if _, errs := term.want(1, "tokens", "update", id, "--allow-from", "10.0.0.0/8", "--allow-from", "canary"); !regexp.MustCompile(`allowedCidrs\[1\]: `).MatchString(errs) {
		t.Errorf("a range that is none: %s", errs)
	}
}
