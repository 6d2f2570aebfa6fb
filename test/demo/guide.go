package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// welcome says where everything is.
func (d *demo) welcome() string {
	token, _ := os.ReadFile(filepath.Join(d.dir, "controlplane", "admin-token")) // it was there a moment ago
	var b strings.Builder
	fmt.Fprintf(&b, "\n  Admin API       %s   admin token: %s\n", d.op.base, strings.TrimSpace(string(token)))
	for _, p := range d.planes {
		fmt.Fprintf(&b, "  Data plane      http://%s/v1   region %s; metrics at http://%s/metrics\n", p.api, p.region, p.ops)
	}
	fmt.Fprintf(&b, "  Upstream        %s   pretended by this process; its keys fail in every way\n", d.up.url)
	fmt.Fprintf(&b, "  Log             %s\n\n", filepath.Join(d.dir, "demo.log"))
	b.WriteString(d.guide())
	fmt.Fprintf(&b, `
  So that a minute is enough, a first byte is awaited for %s (usually 5 minutes), and a key that fails three
  times in a row is out for %s (usually an hour). NOT SAFE FOR PRODUCTION: credentials lie in %s.
  Ctrl-C stops everything.

`, seconds(firstByte), seconds(ejectFor), d.dir)
	return b.String()
}

// guide is what to type.
func (d *demo) guide() string {
	return fmt.Sprintf(`  Look for yourself, in another terminal, in this folder (with "| jq" after them JSON is readable):

    export ADMIN_TOKEN=$(cat %[1]s/controlplane/admin-token) TOKEN=$(cat %[1]s/client-token)
    admin() { curl -s "%[2]s/admin/$1" "${@:2}" \
      -H "Authorization: Bearer $ADMIN_TOKEN"; echo; }

    admin stats                               # requests and attempts, kept apart; by provider, model, hour
    admin keys/stats                          # each key's own figures
    admin 'api-keys?status=auto_disabled'     # what is out, why, and until when
    curl -s http://%[3]s/metrics | grep apipool_upstream_attempts_total
    curl -si http://%[4]s/v1/chat/completions -H "Authorization: Bearer $TOKEN" \
      --json '{"model":"%[5]s","messages":[{"role":"user","content":"Hello"}]}'   # see x-pool-attempts

  Try this:

    admin keys/disable --json '{"id":"%[6]s"}'    # '%[7]s'; it names who has stopped using it
    admin keys/enable --json '{"id":"%[6]s"}'     # and brings it back
    kill -9 $(cat %[1]s/controlplane.pid)               # requests go on; it is started again after 5 s
`, d.dir, d.op.base, d.planes[0].ops, d.planes[0].api, models[0], d.keys[0].id, d.keys[0].label)
}

// farewell sums up. The two who have counted attempts do not know of each other; the control plane may be seconds behind.
func (d *demo) farewell(ctx context.Context) string {
	c := d.traffic.tally()
	text := fmt.Sprintf("The end. Clients sent %s and saw %s", count(c.requests, "request"), count(c.errors(), "error"))
	if c.cut > 0 {
		text += fmt.Sprintf(" (%s, which nothing can hide)", count(c.cut, "cut stream"))
	}
	text += fmt.Sprintf("; %s failed with one key and got the whole answer with another.", count(c.failovers, "request"))
	made, _, _ := d.up.counts()
	if counted, err := d.counted(ctx, made); err == nil {
		text += fmt.Sprintf(" The upstream was asked %s; the control plane has counted %s.", count(made, "time"), count(counted, "attempt"))
	}
	return "\n" + wrap("  ", text)
}

// counted answers the control plane's count as soon as it has caught up, or after a while.
func (d *demo) counted(ctx context.Context, made int) (n int, err error) {
	for range 20 {
		if n, err = d.op.attempts(ctx); err != nil || n == made {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	return n, err
}
