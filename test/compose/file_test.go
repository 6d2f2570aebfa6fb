// Package compose holds docker-compose.yml to what it promises: by reading it here, and by bringing it up in TestStory.
package compose

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// file is docker-compose.yml, as far as it is looked at here.
type file struct {
	Services map[string]service
	Volumes  map[string]any
}

type service struct {
	Image string
	Build struct {
		Context, Dockerfile, Target string
	}
	User            string
	Command         []string
	Environment     map[string]string
	Ports           []string
	Volumes         []string
	ReadOnly        bool     `yaml:"read_only"`
	CapDrop         []string `yaml:"cap_drop"`
	SecurityOpt     []string `yaml:"security_opt"`
	Restart         string
	Healthcheck     struct{ Test []string }
	StopGracePeriod string `yaml:"stop_grace_period"`
	// What undoes the rest.
	CapAdd     []string `yaml:"cap_add"`
	Privileged bool
	Network    string `yaml:"network_mode"`
	PID        string
}

// texts are the files of one state of the tree, by name.
type texts map[string]string

const (
	composeFile    = "docker-compose.yml"
	dockerfile     = "deploy/Dockerfile"
	prometheusFile = "deploy/prometheus.yml"
)

func theTree(t *testing.T) texts {
	t.Helper()
	all := texts{}
	for _, name := range []string{composeFile, dockerfile, prometheusFile, "go.mod"} {
		text, err := os.ReadFile(path.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(text)
	}
	return all
}

// complaints answers all that is wrong with a state of the tree.
func complaints(all texts) []string {
	var f file
	var found []string
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if err := yaml.Unmarshal([]byte(all[composeFile]), &f); err != nil {
		return []string{err.Error()}
	}
	stages := stagesOf(all[dockerfile])
	used := map[string]bool{}
	for name, s := range f.Services {
		say := func(format string, args ...any) { say(name+": "+format, args...) }
		s.rights(say)
		s.image(say, stages)
		s.settings(say)
		s.stopping(say)
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			if _, ok := f.Volumes[source]; !ok && !strings.HasPrefix(source, "./deploy/") {
				say("%s is no volume of this file", source)
			}
			used[source] = true
		}
	}
	for v := range f.Volumes {
		if !used[v] {
			say("nobody uses the volume %s", v)
		}
	}
	for _, c := range credentials(all[composeFile]) {
		say("%q looks like a credential", c)
	}
	watched(say, f, all[prometheusFile])
	pinnedGo(say, all)
	slices.Sort(found)
	return found
}

func TestTheFile(t *testing.T) {
	all := theTree(t)
	for _, c := range complaints(all) {
		t.Error(c)
	}
	var f file
	if err := yaml.Unmarshal([]byte(all[composeFile]), &f); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"init", "controlplane", "dataplane-eu-west", "dataplane-us-east", "prometheus"} {
		if _, ok := f.Services[name]; !ok {
			t.Errorf("there is no %s", name)
		}
	}
}

// Every one of these must be seen.
func TestWhatIsWrongIsSeen(t *testing.T) {
	for _, row := range []struct{ in, old, new, want string }{
		{composeFile, `user: "65532:65532"`, `user: "0:0"`, "and not root's"},
		{composeFile, `  read_only: true`, `  read_only: false`, "not read_only"},
		{composeFile, `  cap_drop: [ALL]`, `  cap_drop: [NET_RAW]`, "capabilities"},
		{composeFile, `["no-new-privileges:true"]`, `[]`, "privileges"},
		{composeFile, `    stop_grace_period: 20s`, `    privileged: true`, "capabilities"},
		{composeFile, `127.0.0.1:7601:7601`, `7601:7601`, "beyond this machine"},
		{composeFile, `127.0.0.1:8082:8080`, `0.0.0.0:8082:8080`, "beyond this machine"},
		{composeFile, `prom/prometheus:v3.5.0`, `prom/prometheus:latest`, "pin a whole version"},
		{composeFile, `prom/prometheus:v3.5.0`, `prom/prometheus`, "pin a whole version"},
		{composeFile, `    target: dataplane`, `    target: proxy`, `no stage "proxy"`},
		{composeFile, `APIPOOL_NODE_ID: eu`, `APIPOOL_NODE_NAME: eu`, "does not read APIPOOL_NODE_NAME"},
		{composeFile, `APIPOOL_NODE_LISTEN:`, `APIPOOL_OPS_LISTEN:`, "does not read APIPOOL_OPS_LISTEN"},
		{composeFile, `--write-join-token`, `--write-token`, "has no flag --write-token"},
		{composeFile, `[serve]`, `[server]`, "there is no command controlplane server"},
		{composeFile, `/dataplane, health]`, `/dataplane, healthy]`, "dataplane healthy"},
		{composeFile, `stop_grace_period: 45s`, `stop_grace_period: 30s`, "it is killed after"},
		{composeFile, `"dataplane-eu-west:/data"`, `"dataplane-eu:/data"`, "no volume of this file"},
		{composeFile, "\nvolumes:\n", "\nvolumes:\n  spare:\n", "nobody uses the volume spare"},
		{composeFile, `APIPOOL_JOIN_TOKEN_FILE: /join/token`, `APIPOOL_JOIN_TOKEN: welcome`, "looks like a credential"},
		{composeFile, `APIPOOL_JOIN_TOKEN_FILE: /join/token`, `APIPOOL_JOIN_TOKEN_FILE: 5f0c9a`, "looks like a credential"},
		{composeFile, `APIPOOL_REGION: eu-west`, `APIPOOL_REGION: 4BTYVKO2ZK6QJ7NMHX3D5W2A`, "looks like a credential"},
		{composeFile, `[serve]`, `[serve, --admin-token=please-change-me]`, "looks like a credential"},
		{composeFile, `APIPOOL_ADMIN_HOSTS: controlplane`, `APIPOOL_ADMIN_HOSTS: pool`, "does not answer to its name"},
		{prometheusFile, `dataplane-us-east:8081`, `dataplane-us-east:8080`, "to be asked are"},
		{dockerfile, `golang:1.26.8`, `golang:1.26`, "GO_IMAGE"},
		{dockerfile, `golang:1.26.8`, `golang:1.25.3`, "GO_IMAGE"},
		{dockerfile, `FROM scratch`, `FROM debian:12`, "begins with debian:12"},
		{dockerfile, `USER 65532:65532`, `USER root`, "runs as root"},
	} {
		all := theTree(t)
		spoiled := strings.ReplaceAll(all[row.in], row.old, row.new)
		if spoiled == all[row.in] {
			t.Errorf("%s does not hold %q any more", row.in, row.old)
			continue
		}
		all[row.in] = spoiled
		if found := complaints(all); !strings.Contains(strings.Join(found, "\n"), row.want) {
			t.Errorf("%q for %q was let through: %q", row.new, row.old, found)
		}
	}
}
