package compose

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"ollama-api-pool/test/fakellm"
)

// hardened looks at what the engine made of the file.
func (f *fleet) hardened() {
	for service, user := range map[string]string{
		"init": "65532:65532", "controlplane": "65532:65532", "dataplane-eu-west": "65532:65532",
		"dataplane-us-east": "65532:65532", "prometheus": "65534:65534",
	} {
		c := f.inspect(service)
		h := c.HostConfig
		if c.Config.User != user || !h.ReadonlyRootfs || h.Privileged || !slices.Equal(h.CapDrop, []string{"ALL"}) ||
			!slices.Contains(h.SecurityOpt, "no-new-privileges:true") || c.RestartCount > 0 {
			f.t.Errorf("%s: %+v", service, c)
		}
		for port, bindings := range h.PortBindings {
			for _, b := range bindings {
				if b.HostIP != "127.0.0.1" {
					f.t.Errorf("%s: port %s is published on %q", service, port, b.HostIP)
				}
			}
		}
	}
}

// certificates sees to it that an upstream's certificate can be checked.
func (f *fleet) certificates() {
	for _, r := range regions {
		if _, text := f.file(r.service, "/etc/ssl/certs/ca-certificates.crt"); !strings.Contains(text, "BEGIN CERTIFICATE") {
			f.t.Errorf("%s has no CA certificates", r.service)
		}
	}
}

// documented runs the line at the head of docker-compose.yml that sets a variable, as it is written there, and answers the
// variable.
func (f *fleet) documented(variable string) string {
	f.t.Helper()
	text, err := os.ReadFile(path.Join(root, composeFile))
	if err != nil {
		f.t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^# +(` + variable + `=.*)$`).FindStringSubmatch(string(text))
	if line == nil {
		f.t.Fatalf("%s says nothing of %s", composeFile, variable)
	}
	script := strings.ReplaceAll(line[1], "docker-compose", strings.Join(f.compose, " "))
	return f.run("", "bash", "-euo", "pipefail", "-c", script+"; printf %s \"$"+variable+"\"")
}

// stoppedInOrder sees to it that the data planes could still tell the control plane their last counts.
func (f *fleet) stoppedInOrder() {
	logs := f.run("", append(f.compose, "logs", "--no-color")...)
	if strings.Count(logs, "data plane stopped") != 2 || strings.Count(logs, "control plane stopped") != 1 ||
		strings.Contains(logs, "counts not confirmed") || strings.Contains(logs, "requests cut") {
		f.t.Errorf("the services were not stopped in order:\n%s", tail(logs))
	}
}

// joined asks as the head of docker-compose.yml says: in the container, with no credential in sight.
func (f *fleet) joined() {
	f.wait("both nodes are live", func() bool {
		return strings.Count(f.exec("", "controlplane", "/controlplane", "nodes", "list"), " live ") == len(regions)
	})
	table := f.exec("", "controlplane", "/controlplane", "nodes", "list")
	for name, r := range regions {
		if !strings.Contains(strings.Join(strings.Fields(table), " "), r.node+" "+name+" ") {
			f.t.Errorf("%s is not in %s:\n%s", r.node, name, table)
		}
	}
}

func (f *fleet) firstKeys() {
	f.admin("PATCH", "/admin/providers/ollama", `{"baseUrl":"http://127.0.0.1:9100","allowPrivateAddresses":true}`, nil)
	for _, key := range keys[1:] {
		f.admin("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":%q}`, key), nil)
	}
	f.exec(keys[0]+"\n", "controlplane", "/controlplane", "keys", "add", "-")
	var made struct{ Token string }
	f.admin("POST", "/admin/tokens", `{"name":"first"}`, &made)
	f.token = made.Token
}

// answers asks each region, whole and as a stream. What was just added may take a moment to get there.
func (f *fleet) answers() {
	for name, r := range regions {
		f.wait(name+" lists the models", func() bool { return f.call("GET", r.api+"/v1/models", f.token, "").status == http.StatusOK })
		f.got++
		for i := range each {
			stream := i%2 == 1
			word := fmt.Sprintf("hello-%s-%d", name, i)
			got := f.call("POST", r.api+"/v1/chat/completions", f.token, fmt.Sprintf(
				`{"model":%q,"stream":%t,"messages":[{"role":"user","content":%q}]}`, fakellm.DefaultModel, stream, word))
			if got.status != http.StatusOK || stream != strings.HasSuffix(strings.TrimSpace(got.body), "data: [DONE]") {
				f.t.Fatalf("%s answers %d %s", name, got.status, got.body)
			}
			f.got++
			if !stream && !strings.Contains(got.body, word) {
				f.t.Errorf("%s does not answer what it was asked: %s", name, got.body)
			}
		}
	}
}

// ledgers asks the judge: what each pretend upstream has seen.
func (f *fleet) ledgers() {
	for name, r := range regions {
		_, text := f.file(r.upstream, "/ledger")
		chats := 0
		for line := range strings.Lines(text) {
			var e fakellm.Entry
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				f.t.Fatal(err)
			}
			if e.Violation != "" || e.Key != "" && !slices.Contains(keys, e.Key) {
				f.t.Errorf("%s: the upstream has seen %+v", name, e)
			}
			if strings.HasSuffix(e.Path, "/chat/completions") && e.Outcome == fakellm.Completed {
				chats++
			}
		}
		if chats != each {
			f.t.Errorf("%s: the upstream has answered %d, its clients have got %d", name, chats, each)
		}
	}
}

// counted compares the pool's own count with what clients have got, since the very beginning.
func (f *fleet) counted() {
	var counts struct{ SuccessCount, FailureCount float64 }
	f.wait("the counts are there", func() bool {
		f.admin("GET", "/admin/stats", "", &counts)
		return counts.SuccessCount >= f.got
	})
	if counts.SuccessCount != f.got || counts.FailureCount != 0 {
		f.t.Errorf("counted %+v, clients have got %v", counts, f.got)
	}
}

func (f *fleet) watched() {
	var got struct {
		Data struct {
			ActiveTargets []struct {
				Health, LastError string
				Labels            map[string]string
			}
		}
	}
	f.wait("all targets are up", func() bool {
		f.decode(f.get(prometheus+"/api/v1/targets?state=active").body, &got)
		up := 0
		for _, t := range got.Data.ActiveTargets {
			if t.Health == "up" {
				up++
			}
		}
		return up == 3 && len(got.Data.ActiveTargets) == 3
	})
	for _, query := range []string{
		`up{job="controlplane"} == 1`, `up{job="dataplane",region="eu-west"} == 1`, `up{job="dataplane",region="us-east"} == 1`,
		`apipool_build_info`,
	} {
		f.wait(query, func() bool {
			return strings.Contains(f.get(prometheus+"/api/v1/query?query="+url.QueryEscape(query)).body, `"value"`)
		})
	}
}

func (f *fleet) pages() {
	for _, at := range []string{adminURL, regions["eu-west"].ops, regions["us-east"].ops} {
		page := f.get(at + "/metrics")
		if page.status != http.StatusOK || !strings.Contains(page.body, "apipool_build_info{") {
			f.t.Fatalf("%s: %d %s", at, page.status, page.body)
		}
		if said := f.exec(page.body, "prometheus", "/bin/promtool", "check", "metrics"); said != "" {
			f.t.Errorf("%s: %s", at, said)
		}
	}
}

// state is what must outlast everything: keys, tokens, counts, nodes, and who they prove to be.
func (f *fleet) state() string {
	f.t.Helper()
	var list struct {
		APIKeys []struct{ ID, Provider, Display string }
	}
	var tokens struct {
		ClientTokens []struct{ ID, Name string }
	}
	var nodes struct {
		Nodes []struct{ ID, Region, JoinTime string }
	}
	var stats struct{ TotalAPIKeys, TotalClientTokens, TotalRequests, SuccessCount, FailureCount, UpstreamAttempts float64 }
	f.admin("GET", "/admin/api-keys", "", &list)
	f.admin("GET", "/admin/tokens", "", &tokens)
	f.admin("GET", "/admin/nodes", "", &nodes)
	f.admin("GET", "/admin/stats", "", &stats)
	if len(list.APIKeys) != len(keys) || len(tokens.ClientTokens) != 1 || len(nodes.Nodes) != len(regions) || stats.SuccessCount < 1 {
		f.t.Errorf("there is not what there was: %+v %+v %+v %+v", list, tokens, nodes, stats)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%+v\n%+v\n%+v\n%+v\n", list, tokens, nodes, stats)
	for _, name := range []string{"eu-west", "us-east"} {
		_, certificate := f.file(regions[name].service, "/data/node.crt")
		text.WriteString(certificate)
	}
	return text.String()
}

func (f *fleet) noSecretInLogs(joinToken string) {
	f.t.Helper()
	logs := f.run("", append(f.compose, "logs", "--no-color")...)
	if !strings.Contains(logs, "control plane started") || !strings.Contains(logs, "data plane started") {
		f.t.Errorf("these are no logs:\n%s", tail(logs))
	}
	for what, secret := range map[string]string{"admin": f.adminToken, "join": joinToken, "client's": f.token, "canary": "canary-upstream"} {
		if len(secret) < 15 || strings.Contains(logs, secret) {
			f.t.Errorf("the %s token or key is in the logs, or is none", what)
		}
	}
}
