package system

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

const poisonToken = "sk-poison-0123456789-abcdefghij"

// A control plane that sends nonsense is heard, counted and not obeyed: the node serves on with the last that was sound, and
// takes the next that is.
func TestProcessPoisonedSnapshots(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real processes")
	}
	upstream := fakellm.New(fakellm.Config{Dialect: fakellm.Ollama, KeepHeaders: true})
	web := httptest.NewServer(upstream)
	t.Cleanup(web.Close)
	f := &fleet{dir: t.TempDir(), webs: []*httptest.Server{web}, nodes: map[string]*process{}, ports: map[string]string{}, poisoned: true}
	f.operator = &operator{t: t, token: adminToken, logs: &logs{}, upstream: upstream, client: &http.Client{Timeout: 30 * time.Second}}
	t.Cleanup(f.stop)
	sound := func() *leasev1.ResourceDelta {
		d := &leasev1.ResourceDelta{
			DeltaSeq: 1, CompleteRevision: 20,
			Providers: []*leasev1.Provider{{
				Id: "ollama", Revision: 1, BaseUrl: web.URL, Dialect: "ollama", Enabled: true, AllowPrivateAddresses: true, MaxTries: 3, Strikes: 3,
			}},
			Tokens: []*leasev1.ClientToken{{Id: 1, Revision: 2, Hash: digest(poisonToken)}},
		}
		for n := range 3 {
			d.Keys = append(d.Keys, &leasev1.UpstreamKey{
				Id: uint64(n + 1), Revision: uint64(n + 10), Generation: 1, State: leasev1.AdminState_ADMIN_STATE_ENABLED,
				ProviderId: "ollama", Secret: secret(n), Weight: 1,
			})
		}
		return d
	}
	for n := range 3 {
		f.behave(secret(n), fakellm.Behaviour{})
	}
	i := &impostor{sound: sound}
	i.serve(t, f.port("control"), f.path("eu-1"))
	f.startNode("eu-1@eu-west")
	f.wait("http://" + f.port("eu-1-ops") + "/readyz")
	l := &load{f: f, token: poisonToken, nodes: []string{"eu-1"}, pause: 5 * time.Millisecond}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.run(ctx, 4, 0) }()

	changed := func(change func(d *leasev1.ResourceDelta)) func(*speech) error {
		return func(s *speech) error {
			d := sound()
			change(d)
			return errors.Join(s.begin(), s.delta(d))
		}
	}
	rows := []struct {
		name, invariant string // empty: no invariant is broken
		says            func(*speech) error
		unused          string // key that is not used meanwhile
	}{
		{"nothing at all", "resumable", changed(func(d *leasev1.ResourceDelta) { d.Keys, d.Tokens, d.Providers = nil, nil, nil }), ""},
		{"no keys", "resumable", changed(func(d *leasev1.ResourceDelta) { d.Keys = nil }), ""},
		{"an older revision", "resumable", changed(func(d *leasev1.ResourceDelta) { d.CompleteRevision = 19 }), ""},
		{"an older copy of a key", "no_regress", changed(func(d *leasev1.ResourceDelta) { d.Keys[1].Revision = 3 }), ""},
		{"one id twice", "unique", changed(func(d *leasev1.ResourceDelta) { d.Keys = append(d.Keys, d.Keys[0]) }), ""},
		{"a piece is missing", "gapless", changed(func(d *leasev1.ResourceDelta) { d.DeltaSeq = 2 }), ""},
		{"an earlier term", "no_regress", func(s *speech) error { s.welcome.Term = 6; return s.begin() }, ""},
		{"five megabytes", "bounded", changed(func(d *leasev1.ResourceDelta) { d.Keys[0].Models = []string{strings.Repeat("x", 5<<20)} }), ""},
		{"it never ends", "progress", func(s *speech) error { return s.begin() }, ""},
		{"cut in the middle of a message", "", func(s *speech) error {
			d := sound()
			d.Keys[0].Models = []string{strings.Repeat("x", 100<<10)}
			i.cut.Store(true)
			return errors.Join(s.begin(), s.delta(d))
		}, ""},
		{"a state that nobody knows", "", changed(func(d *leasev1.ResourceDelta) { d.Keys[0].State = 99 }), secret(0)},
		{"fields that nobody knows", "", changed(func(d *leasev1.ResourceDelta) {
			d.ProtoReflect().SetUnknown([]byte{0xfa, 0xff, 0x01, 0x02, 'h', 'i'}) // field 4095
			d.Removed = []*leasev1.Removed{{Kind: 77, Id: 1}}
		}), ""},
	}
	counted := map[string]int{}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			before := i.synced()
			i.poison(row.says)
			if row.invariant != "" {
				counted[row.invariant]++
			} else { // the node has no reason to end that session itself
				time.Sleep(300 * time.Millisecond)
				seen := len(f.upstream.Ledger())
				time.Sleep(100 * time.Millisecond)
				if row.unused != "" {
					report(t, fakellm.UsedAfter(f.upstream.Ledger()[seen:], row.unused, time.Time{}))
				}
				i.poison(nil)
			}
			for wait := 0; ; wait++ {
				got := violationsOn(f.get("http://" + f.port("eu-1-ops") + "/metrics").body)
				if wantCounts(got, counted) && f.held("eu-1") == 3 && i.synced() > before {
					break
				}
				if wait > 200 {
					t.Fatalf("counted %v, want %v; the node holds %d keys", got, counted, f.held("eu-1"))
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	used := len(fakellm.Attempts(f.upstream.Ledger()))
	time.Sleep(300 * time.Millisecond)
	stop()
	<-done
	l.wantNoErrors()
	report(t, fakellm.UnexpectedKeys(f.upstream.Ledger(), secret(0), secret(1), secret(2)))
	last := fakellm.PerKey(fakellm.Attempts(f.upstream.Ledger())[used:])
	if len(last) != 3 {
		t.Errorf("%d of 3 keys are in use in the end", len(last))
	}
	if log := f.logOf(t, "eu-1"); len(violationsIn(log)) != 9 {
		t.Errorf("the log tells of %d violations, want 9", len(violationsIn(log)))
	}
	figure(t, "none", "poisoned snapshots", "%d kinds, %d violations counted, %d requests, %d client errors", len(rows), 9, l.sent.Load(), len(l.errs))
	f.scan(poisonToken)
}

// held answers how many keys a node holds.
func (f *fleet) held(id string) int {
	f.t.Helper()
	return metric(f.get("http://"+f.port(id+"-ops")+"/metrics").body, "apipool_leases")
}

func wantCounts(got, want map[string]int) bool {
	for name, n := range got {
		if n != want[name] {
			return false
		}
	}
	return len(got) > 0
}
