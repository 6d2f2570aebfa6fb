package leases

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// wired is a link whose sessions are fed by hand.
type wired struct {
	*desk
	link *Link
	log  *strings.Builder
}

func newWired(t *testing.T) *wired {
	t.Helper()
	d, log := newDesk(t), &strings.Builder{}
	d.wipe()
	return &wired{desk: d, link: NewLink(LinkConfig{Book: d.Book, Logger: slog.New(slog.NewTextHandler(log, nil))}), log: log}
}

// begin opens a session that has sent this many heartbeats.
func (w *wired) begin(t *testing.T, welcome *leasev1.Welcome, beats uint64) (*session, error) {
	t.Helper()
	second := durationOf(1e9)
	welcome.LeaseTtl, welcome.HeartbeatInterval, welcome.ReportInterval = second, second, second
	s := &session{link: w.link, welcome: welcome}
	s.beats.seq = beats
	var err error
	if s.watch, err = w.link.watch(s); err != nil {
		return nil, err
	}
	if err := w.link.checkTimes(welcome); err != nil {
		t.Fatal(err)
	}
	w.link.epoch = welcome.GetNodeEpoch()
	w.renew(w.clock, 60e9, 3600e9)
	w.beginSync()
	return s, nil
}

// take takes a message as a session's receiver does.
func (w *wired) take(s *session, m *leasev1.SessionResponse) error {
	if err := s.watch.see(m); err != nil {
		return err
	}
	if d := m.GetDelta(); d != nil {
		w.applyDelta(d)
	}
	return nil
}

func first() *leasev1.Welcome {
	return &leasev1.Welcome{Lineage: []byte("one"), Term: 3, NodeEpoch: 5}
}

func delta(seq, complete uint64, keys ...*leasev1.UpstreamKey) *leasev1.SessionResponse {
	return &leasev1.SessionResponse{Message: &leasev1.SessionResponse_Delta{Delta: &leasev1.ResourceDelta{
		DeltaSeq: seq, CompleteRevision: complete, Keys: keys,
	}}}
}

func changed(m *leasev1.SessionResponse, change func(*leasev1.ResourceDelta)) *leasev1.SessionResponse {
	change(m.GetDelta())
	return m
}

func healthUpdate(term, seq uint64) *leasev1.SessionResponse {
	return &leasev1.SessionResponse{Message: &leasev1.SessionResponse_Health{Health: &leasev1.HealthUpdate{Term: term, HealthSeq: seq}}}
}

func grants(term, seq uint64) *leasev1.SessionResponse {
	return &leasev1.SessionResponse{Message: &leasev1.SessionResponse_Grants{Grants: &leasev1.GrantUpdate{Term: term, GrantSeq: seq}}}
}

func renewal(term, beat uint64) *leasev1.SessionResponse {
	return &leasev1.SessionResponse{Message: &leasev1.SessionResponse_Renewal{Renewal: &leasev1.LeaseRenewal{
		Term: term, HeartbeatSeq: beat, LeaseTtl: durationOf(60e9),
	}}}
}

func command(seq uint64) *leasev1.SessionResponse {
	return &leasev1.SessionResponse{Message: &leasev1.SessionResponse_Command{Command: &leasev1.NodeCommand{CommandSeq: seq}}}
}

func at(k *leasev1.UpstreamKey, revision uint64) *leasev1.UpstreamKey {
	k.Revision = revision
	return k
}

func clientToken(id, revision uint64) *leasev1.ClientToken {
	hash := make([]byte, 32)
	hash[0] = byte(id)
	return &leasev1.ClientToken{Id: id, Revision: revision, Hash: hash}
}

func theProvider(revision uint64) []*leasev1.Provider {
	return []*leasev1.Provider{{Id: "ollama", BaseUrl: "https://ollama.com", Dialect: "ollama", Enabled: true, Revision: revision}}
}

// whole is a sync that ends at revision 20 and names two keys, a token and a provider.
func whole(seq uint64) *leasev1.SessionResponse {
	return changed(delta(seq, 20, at(key(1), 7), at(key(2), 9)), func(d *leasev1.ResourceDelta) {
		d.Tokens, d.Providers = []*leasev1.ClientToken{clientToken(1, 8)}, theProvider(4)
	})
}

// Each row is a session that keeps its promises but for its last message. The same without that message is well.
func TestEveryViolationIsCaught(t *testing.T) {
	type messages = []*leasev1.SessionResponse
	rows := map[string]struct {
		want Invariant
		feed messages
	}{
		"delta_seq twice":              {Unique, messages{whole(1), delta(2, 20), delta(2, 20)}},
		"delta_seq falls":              {Ordered, messages{whole(1), delta(2, 20), delta(1, 20)}},
		"delta_seq with a gap":         {Gapless, messages{whole(1), delta(3, 20)}},
		"deltas that do not begin":     {Gapless, messages{delta(2, 0)}},
		"a delta without a number":     {Unique, messages{delta(0, 0)}},
		"health_seq twice":             {Unique, messages{healthUpdate(3, 4), healthUpdate(3, 9), healthUpdate(3, 9)}},
		"health_seq falls":             {Ordered, messages{healthUpdate(3, 4), healthUpdate(3, 9), healthUpdate(3, 8)}},
		"health of another term":       {NoRegress, messages{healthUpdate(3, 4), healthUpdate(2, 5)}},
		"grant_seq twice":              {Unique, messages{grants(3, 1), grants(3, 1)}},
		"grant_seq with a gap":         {Gapless, messages{grants(3, 1), grants(3, 3)}},
		"grants of another term":       {NoRegress, messages{grants(3, 1), grants(4, 2)}},
		"command_seq twice":            {Unique, messages{command(1), command(3), command(3)}},
		"command_seq falls":            {Ordered, messages{command(1), command(3), command(2)}},
		"a heartbeat renewed twice":    {Unique, messages{renewal(3, 1), renewal(3, 4), renewal(3, 4)}},
		"heartbeats out of order":      {Ordered, messages{renewal(3, 1), renewal(3, 4), renewal(3, 2)}},
		"a heartbeat that was not":     {Progress, messages{renewal(3, 1), renewal(3, 101)}},
		"a renewal of an earlier term": {NoRegress, messages{renewal(3, 1), renewal(2, 2)}},
		"a sync that does not go on": {Progress, messages{
			delta(1, 0), renewal(3, 1), renewal(3, 2), renewal(3, 3), renewal(3, 4), renewal(3, 5), renewal(3, 6), renewal(3, 7),
		}},
		"a key twice": {Unique, messages{delta(1, 0, key(1)), delta(2, 0, key(2), key(2))}},
		"a token twice": {Unique, messages{changed(delta(1, 0), func(d *leasev1.ResourceDelta) {
			d.Tokens = []*leasev1.ClientToken{clientToken(1, 1), clientToken(1, 2)}
		})}},
		"a provider twice": {Unique, messages{changed(delta(1, 0), func(d *leasev1.ResourceDelta) {
			d.Providers = append(theProvider(1), theProvider(2)...)
		})}},
		"a key that comes and goes": {Unique, messages{changed(delta(1, 0, key(1)), func(d *leasev1.ResourceDelta) {
			d.Removed = []*leasev1.Removed{{Kind: leasev1.Kind_KIND_KEY, Id: 1}}
		})}},
		"a key of an older revision": {NoRegress, messages{whole(1), delta(2, 21, at(key(2), 8))}},
		"an older one within a sync": {NoRegress, messages{delta(1, 0, at(key(1), 9)), delta(2, 20, at(key(1), 8))}},
		"a token of an older revision": {NoRegress, messages{whole(1), changed(delta(2, 21), func(d *leasev1.ResourceDelta) {
			d.Tokens = []*leasev1.ClientToken{clientToken(1, 7)}
		})}},
		"a provider of an older revision": {NoRegress, messages{whole(1), changed(delta(2, 21), func(d *leasev1.ResourceDelta) {
			d.Providers = theProvider(3)
		})}},
		"complete_revision falls": {NoRegress, messages{whole(1), delta(2, 19)}},
		"a second Welcome":        {Unique, messages{{Message: &leasev1.SessionResponse_Welcome{Welcome: first()}}}},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			w := newWired(t)
			s, err := w.begin(t, first(), 100)
			if err != nil {
				t.Fatal(err)
			}
			for i, m := range row.feed {
				err := w.take(s, m)
				if last := i == len(row.feed)-1; !last && err != nil {
					t.Fatalf("message %d, which is well: %v", i+1, err)
				} else if last {
					w.wantBroken(t, err, row.want)
				}
			}
		})
	}
}

// wantBroken wants a violation of this invariant, counted once, and said in the log.
func (w *wired) wantBroken(t *testing.T, err error, want Invariant) {
	t.Helper()
	v, ok := errors.AsType[*violation](err)
	if !ok || v.invariant != want {
		t.Fatalf("got %v, want a violation of %s", err, want)
	}
	for _, i := range Invariants() {
		if n := w.link.Violations(i); n != map[bool]uint64{true: 1}[i == want] {
			t.Errorf("%d violations of %s are counted", n, i)
		}
	}
	if !strings.Contains(w.log.String(), "invariant="+want.String()) {
		t.Errorf("the log says %s", w.log)
	}
}

// later answers a link that has been through a session with a whole sync, and what opens its next one.
func later(t *testing.T) *wired {
	t.Helper()
	w := newWired(t)
	s, err := w.begin(t, first(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*leasev1.SessionResponse{healthUpdate(3, 50), whole(1)} {
		if err := w.take(s, m); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func TestTheNextSessionGoesOnWhereTheLastOneEnded(t *testing.T) {
	for name, row := range map[string]struct {
		want    Invariant // invariants: none is broken
		welcome func(*leasev1.Welcome)
		feed    []*leasev1.SessionResponse
	}{
		"all as it was":                {Invariant(invariants), nil, []*leasev1.SessionResponse{healthUpdate(3, 51), whole(1)}},
		"an earlier term":              {NoRegress, func(w *leasev1.Welcome) { w.Term = 2 }, nil},
		"an earlier epoch":             {NoRegress, func(w *leasev1.Welcome) { w.NodeEpoch = 4 }, nil},
		"health from before":           {Ordered, nil, []*leasev1.SessionResponse{healthUpdate(3, 49)}},
		"health of a new term":         {Invariant(invariants), func(w *leasev1.Welcome) { w.Term = 4 }, []*leasev1.SessionResponse{healthUpdate(4, 1)}},
		"an older state":               {Resumable, nil, []*leasev1.SessionResponse{delta(1, 19)}},
		"nothing, of a known revision": {Resumable, nil, []*leasev1.SessionResponse{delta(1, 20)}},
		"no keys, of a known revision": {Resumable, nil, []*leasev1.SessionResponse{changed(whole(1), func(d *leasev1.ResourceDelta) { d.Keys = nil })}},
		"no tokens, of a known one":    {Resumable, nil, []*leasev1.SessionResponse{changed(whole(1), func(d *leasev1.ResourceDelta) { d.Tokens = nil })}},
		"no provider, of a known one":  {Resumable, nil, []*leasev1.SessionResponse{changed(whole(1), func(d *leasev1.ResourceDelta) { d.Providers = nil })}},
		"nothing, of a later revision": {Invariant(invariants), nil, []*leasev1.SessionResponse{delta(1, 21)}},
		"an older key":                 {NoRegress, nil, []*leasev1.SessionResponse{delta(1, 0, at(key(2), 8))}},
		"an older state of another lineage": {
			Invariant(invariants),
			func(w *leasev1.Welcome) { w.Lineage, w.Term = []byte("two"), 1 },
			[]*leasev1.SessionResponse{healthUpdate(1, 1), delta(1, 0, at(key(2), 3)), delta(2, 5)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, welcome := later(t), first()
			if row.welcome != nil {
				row.welcome(welcome)
			}
			s, err := w.begin(t, welcome, 0)
			for _, m := range row.feed {
				if err == nil {
					err = w.take(s, m)
				}
			}
			if row.want != Invariant(invariants) {
				w.wantBroken(t, err, row.want)
				if w.Held() != 2 {
					t.Errorf("%d keys are held of the two that were", w.Held())
				}
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// A control plane owns the state. What speaks only against the past is refused once and believed the second time; a lower term
// is never believed.
func TestWhoSaysTheSameAgainIsBelieved(t *testing.T) {
	w := later(t)
	for again := range 2 {
		s, err := w.begin(t, first(), 0)
		if err != nil {
			t.Fatal(err)
		}
		err = w.take(s, delta(1, 15, at(key(1), 6)))
		if broken := err != nil; broken != (again == 0) {
			t.Fatalf("session %d: %v", again+2, err)
		}
	}
	if w.Held() != 1 {
		t.Errorf("%d keys are held, want the one that the control plane insists on", w.Held())
	}
	s, err := w.begin(t, first(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.take(s, delta(1, 14)); err == nil {
		t.Error("once the node has agreed it compares again, but it did not")
	}
	older := first()
	older.Term = 2
	for range 3 {
		if _, err := w.begin(t, older, 0); err == nil {
			t.Error("a control plane that was overtaken is believed")
		}
	}
}

func TestAMessageThatIsTooLargeIsAViolation(t *testing.T) {
	w := newWired(t)
	s, err := w.begin(t, first(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.watch.lost(status.Error(codes.Unavailable, "gone")); errors.As(err, new(*violation)) {
		t.Errorf("a cut is no violation: %v", err)
	}
	w.wantBroken(t, s.watch.lost(status.Error(codes.ResourceExhausted, "5 MB")), Bounded)
}
