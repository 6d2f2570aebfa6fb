package compose

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	adminURL   = "http://127.0.0.1:7601"
	prometheus = "http://127.0.0.1:9090"
	each       = 3 // answers from each region, before and after
)

// A region as docker-compose.yml and override.yml publish it.
type region struct{ service, node, upstream, api, ops string }

var regions = map[string]region{
	"eu-west": {"dataplane-eu-west", "eu-west-1", "upstream-eu-west", "http://127.0.0.1:8080", "http://127.0.0.1:8081"},
	"us-east": {"dataplane-us-east", "us-east-1", "upstream-us-east", "http://127.0.0.1:8082", "http://127.0.0.1:8083"},
}

// The keys look like nothing else, so that a look for them in the logs means something.
var keys = []string{"canary-upstream-key-0001-abcdefgh", "canary-upstream-key-0002-abcdefgh", "canary-upstream-key-0003-abcdefgh"}

// TestStory is the life of a fleet under Compose: up, first key, answers from both regions, watched by Prometheus; up once
// more while it runs; down, up again, nothing lost; down for good, nothing left. test/compose.sh provides the engine and
// the base images.
func TestStory(t *testing.T) {
	how := strings.Fields(os.Getenv("APIPOOL_TEST_COMPOSE"))
	if len(how) == 0 {
		t.Skip("make test-compose runs it")
	}
	f := &fleet{t: t, compose: slices.Clip(how)}
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := exec.Command("docker", "ps", "-a").CombinedOutput()
			t.Logf("%s", out)
			logs := exec.Command(how[0], append(how[1:], "logs", "--tail", "40")...)
			logs.Dir = root
			out, _ = logs.CombinedOutput()
			t.Logf("%s", out)
		}
		f.run("", append(f.compose, "down", "-v", "--rmi", "local", "--remove-orphans")...)
		if left := f.left(); left != "" {
			t.Errorf("left behind: %s", left)
		}
	})

	f.up("--build")
	t.Log(f.docker("images", "--format", "image {{.Repository}}: {{.Size}}"))
	f.step("containers have no more rights than they need", f.hardened)
	f.adminToken = f.documented("ADMIN_TOKEN")
	joinToken := f.private("controlplane", "/join/token")
	if f.private("controlplane", "/data/admin-token") != f.adminToken {
		t.Error("the head of docker-compose.yml leads to another token")
	}
	f.step("data planes can check an upstream's certificate", f.certificates)
	f.step("both nodes are in, each with its region", f.joined)
	f.step("the first keys and the first token", f.firstKeys)
	f.step("an answer from both regions", f.answers)
	f.step("each upstream has seen our keys only, and answered what clients got", f.ledgers)
	f.step("every answer is counted once", f.counted)
	f.step("Prometheus sees all three", f.watched)
	f.step("promtool finds nothing to say about any page", f.pages)

	before := f.state()
	f.step("up once more changes nothing", func() {
		control, node := f.container("controlplane"), f.container("dataplane-eu-west")
		f.up()
		if f.container("controlplane") != control || f.container("dataplane-eu-west") != node {
			t.Error("a container was made anew")
		}
		if after := f.state(); after != before {
			t.Errorf("before\n%s\nafter\n%s", before, after)
		}
	})
	f.step("down and up again, and nothing is lost", func() {
		f.run("", append(f.compose, "stop")...)
		f.stoppedInOrder()
		f.noSecretInLogs(joinToken)
		f.run("", append(f.compose, "down")...)
		f.up()
		if after := f.state(); after != before {
			t.Errorf("before\n%s\nafter\n%s", before, after)
		}
		if strings.Contains(f.run("", append(f.compose, "logs", "controlplane")...), "node joined") {
			t.Error("a node had to join again")
		}
		if f.private("controlplane", "/data/admin-token") != f.adminToken {
			t.Error("there is another admin token")
		}
	})
	f.step("it serves on, with the same token, and counts on", func() {
		f.answers()
		f.counted()
	})
	f.noSecretInLogs(joinToken)
	f.step("down for good leaves nothing", func() {
		f.run("", append(f.compose, "down", "-v")...)
		if left := f.left(); left != "" {
			t.Errorf("left behind: %s", left)
		}
	})
}

func (f *fleet) step(what string, do func()) {
	f.t.Helper()
	start := time.Now()
	do()
	f.t.Logf("%s (%v)", what, time.Since(start).Round(time.Second))
}
