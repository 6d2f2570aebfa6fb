package leases

import (
	"fmt"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// Invariant is one of the promises that the control plane makes of a session, as in etcd's tests of watches. Every session
// is held to them, of tests and of an operator alike.
type Invariant uint8

// The invariants.
const (
	// Ordered: delta_seq, health_seq, grant_seq, command_seq and the renewed heartbeat rise.
	Ordered Invariant = iota
	// Unique: none of these numbers comes twice in a session, and nothing is named twice in one delta.
	Unique
	// Gapless: delta_seq and grant_seq rise by one, from one. health_seq has gaps, because all nodes share it; a renewal is
	// left out when the node does not read, so heartbeats have gaps too.
	Gapless
	// Resumable: a sync ends at the revision that was known before, or at a later one; if it is the same one, it names
	// whatever is held but what may have ended by its own time.
	Resumable
	// NoRegress: term, node_epoch, complete_revision and the revision of each key, token and provider never fall within a
	// lineage, nor health_seq within a term.
	NoRegress
	// Progress: only heartbeats that were sent are renewed, and while leases are renewed a sync goes on.
	Progress
	// Bounded: no message is larger than 4 MiB.
	Bounded

	invariants int = iota
)

// Invariants answers all of them.
func Invariants() []Invariant {
	return []Invariant{Ordered, Unique, Gapless, Resumable, NoRegress, Progress, Bounded}
}

func (i Invariant) String() string {
	return [...]string{"ordered", "unique", "gapless", "resumable", "no_regress", "progress", "bounded"}[i]
}

// violation ends a session: nothing of the message that broke the invariant is applied, and the next session begins anew
// from what was held before.
type violation struct {
	invariant Invariant
	what      string
}

func (v *violation) Error() string {
	return fmt.Sprintf("the control plane broke an invariant of the session (%s): %s", v.invariant, v.what)
}

// memory is what one session leaves for the next to be compared with. It belongs to the goroutine of Link.Run and, while a
// session lasts, to its receiver.
type memory struct {
	revision uint64 // last complete_revision of the lineage
	health   uint64 // last health_seq of the term
	doubt    bool   // the last session contradicted what was held
	broken   [invariants]atomic.Uint64
}

// Violations answers how often the control plane has broken an invariant.
func (l *Link) Violations(i Invariant) uint64 { return l.memory.broken[i].Load() }

// broke counts and logs a violation. The text names ids and numbers only.
func (l *Link) broke(i Invariant, format string, args ...any) error {
	v := &violation{i, fmt.Sprintf(format, args...)}
	l.memory.broken[i].Add(1)
	l.log.Error("the control plane broke an invariant of the session", "invariant", i.String(), "what", v.what)
	return v
}

// contradicted is broke for what only the past speaks against. The control plane owns the state: if it says the same in its
// next session it is believed, because a node that argued for ever would serve yesterday's keys until its grace is over.
func (l *Link) contradicted(i Invariant, format string, args ...any) error {
	l.memory.doubt = true
	return l.broke(i, format, args...)
}

// watch looks at every message of one session before anything of it is applied.
type watch struct {
	link    *Link
	session *session
	compare bool // what is held is of this lineage, and the last session did not speak against it

	delta, health, grant, command, renewal uint64 // last number of each
	complete                               uint64 // last complete_revision; 0: the sync goes on
	quiet                                  int    // renewals since the sync last went on
}

// maxQuiet is how many renewals, of six in a lease, may come while nothing of a sync does.
const maxQuiet = 6

// watch begins with a Welcome, before the link takes over its lineage and term.
func (l *Link) watch(s *session) (*watch, error) {
	w := s.welcome
	same := l.lineage != "" && string(w.GetLineage()) == l.lineage
	switch {
	case same && w.GetTerm() < l.term: // never believed: another control plane has taken over
		return nil, l.broke(NoRegress, "this control plane is of term %d, but term %d has been seen: it has been overtaken", w.GetTerm(), l.term)
	case same && w.GetNodeEpoch() < l.epoch:
		return nil, l.broke(NoRegress, "node_epoch %d follows %d", w.GetNodeEpoch(), l.epoch)
	case !same:
		l.memory.revision, l.memory.health = 0, 0
	case w.GetTerm() > l.term:
		l.memory.health = 0
	}
	return &watch{link: l, session: s, compare: same && !l.memory.doubt, health: l.memory.health}, nil
}

// see answers an error for a message that breaks an invariant: it must not be applied, and the session is over.
func (w *watch) see(m *leasev1.SessionResponse) error {
	switch m := m.GetMessage().(type) {
	case *leasev1.SessionResponse_Welcome:
		return w.link.broke(Unique, "a second Welcome")
	case *leasev1.SessionResponse_Renewal:
		return w.seeRenewal(m.Renewal)
	case *leasev1.SessionResponse_Delta:
		return w.seeDelta(m.Delta)
	case *leasev1.SessionResponse_Health:
		w.quiet = 0
		if err := w.ofTerm("health update", m.Health.GetTerm()); err != nil {
			return err
		}
		if err := w.rises("health_seq", m.Health.GetHealthSeq(), &w.health, false); err != nil {
			return err
		}
		w.link.memory.health = w.health
	case *leasev1.SessionResponse_Grants:
		w.quiet = 0
		if err := w.ofTerm("grant update", m.Grants.GetTerm()); err != nil {
			return err
		}
		return w.rises("grant_seq", m.Grants.GetGrantSeq(), &w.grant, true)
	case *leasev1.SessionResponse_Command:
		return w.rises("command_seq", m.Command.GetCommandSeq(), &w.command, false)
	}
	return nil
}

// lost answers why receiving ended, for an error of Recv.
func (w *watch) lost(err error) error {
	if status.Code(err) == codes.ResourceExhausted {
		return w.link.broke(Bounded, "a message is too large")
	}
	return err
}

func (w *watch) rises(name string, seq uint64, last *uint64, byOne bool) error {
	switch was := *last; {
	case seq == was:
		return w.link.broke(Unique, "%s %d came twice", name, seq)
	case seq < was:
		return w.link.broke(Ordered, "%s %d follows %d", name, seq, was)
	case byOne && seq != was+1:
		return w.link.broke(Gapless, "%s %d follows %d", name, seq, was)
	}
	*last = seq
	return nil
}

func (w *watch) ofTerm(what string, term uint64) error {
	if mine := w.session.welcome.GetTerm(); term != mine {
		return w.link.broke(NoRegress, "a %s of term %d in a session of term %d", what, term, mine)
	}
	return nil
}

func (w *watch) seeRenewal(r *leasev1.LeaseRenewal) error {
	if err := w.ofTerm("renewal", r.GetTerm()); err != nil {
		return err
	}
	if sent := w.session.lastBeat(); r.GetHeartbeatSeq() > sent {
		return w.link.broke(Progress, "heartbeat %d is renewed, the last one sent is %d", r.GetHeartbeatSeq(), sent)
	}
	if err := w.rises("heartbeat_seq", r.GetHeartbeatSeq(), &w.renewal, false); err != nil {
		return err
	}
	if w.complete > 0 {
		return nil
	}
	if w.quiet++; w.quiet > maxQuiet {
		return w.link.broke(Progress, "the lease is renewed, but nothing of the sync comes")
	}
	return nil
}

func (w *watch) seeDelta(d *leasev1.ResourceDelta) error {
	w.quiet = 0
	if err := w.rises("delta_seq", d.GetDeltaSeq(), &w.delta, true); err != nil {
		return err
	}
	if twice := namedTwice(d); twice != "" {
		return w.link.broke(Unique, "delta %d names %s twice", d.GetDeltaSeq(), twice)
	}
	if older := w.link.book.newerThan(d, w.compare); older != "" {
		return w.link.contradicted(NoRegress, "delta %d has an older revision of %s than is held", d.GetDeltaSeq(), older)
	}
	if d.GetCompleteRevision() == 0 {
		return nil
	}
	return w.seeComplete(d)
}

func (w *watch) seeComplete(d *leasev1.ResourceDelta) error {
	revision, memory := d.GetCompleteRevision(), &w.link.memory
	if revision < w.complete {
		return w.link.contradicted(NoRegress, "complete_revision %d follows %d", revision, w.complete)
	}
	if w.complete == 0 && w.compare {
		if revision < memory.revision {
			return w.link.contradicted(Resumable, "the sync ends at revision %d, and revision %d was known", revision, memory.revision)
		}
		if missing := w.link.book.unnamed(d); missing != "" && revision == memory.revision {
			return w.link.contradicted(Resumable, "the sync ends at revision %d, which is known, without %s", revision, missing)
		}
	}
	w.complete, memory.revision, memory.doubt = revision, revision, false
	w.compare = true // from here on all that is held is of this lineage
	return nil
}

// namedTwice answers what a delta names more than once; empty: nothing.
func namedTwice(d *leasev1.ResourceDelta) string {
	seen := make(map[any]struct{}, len(d.GetKeys())+len(d.GetTokens())+len(d.GetProviders())+len(d.GetRemoved()))
	again := func(id any) bool {
		_, there := seen[id]
		seen[id] = struct{}{}
		return there
	}
	for _, k := range d.GetKeys() {
		if id := KeyID(k.GetId()); again(id) {
			return "key " + id.String()
		}
	}
	for _, t := range d.GetTokens() {
		if again(tokenID(t.GetId())) {
			return "a token"
		}
	}
	for _, p := range d.GetProviders() {
		if again(p.GetId()) {
			return "provider " + p.GetId()
		}
	}
	for _, r := range d.GetRemoved() {
		if again(removedID(r)) {
			return "what is removed"
		}
	}
	return ""
}

// removedID is the name under which a full sync keeps what is removed; nil for a kind that this node does not know.
func removedID(r *leasev1.Removed) any {
	switch r.GetKind() {
	case leasev1.Kind_KIND_KEY:
		return KeyID(r.GetId())
	case leasev1.Kind_KIND_TOKEN:
		return tokenID(r.GetId())
	case leasev1.Kind_KIND_PROVIDER:
		return r.GetProviderId()
	default:
		return [2]any{r.GetKind(), r.GetId()}
	}
}

// newerThan answers what the book holds a newer copy of than the delta has; empty: nothing. Unless compare is set, only what
// this sync has named is comparable: the rest may be of another lineage.
func (b *Book) newerThan(d *leasev1.ResourceDelta, compare bool) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	sameLineage := func(id any) bool {
		_, named := b.sync[id]
		return compare || named
	}
	for _, k := range d.GetKeys() {
		id := KeyID(k.GetId())
		if held := b.keys[id]; held != nil && sameLineage(id) && held.lease.Load().revision > k.GetRevision() {
			return "key " + id.String()
		}
	}
	for _, t := range d.GetTokens() {
		if held, ok := b.tokens.ByID(t.GetId()); ok && sameLineage(tokenID(t.GetId())) && held.Revision > t.GetRevision() {
			return "a token"
		}
	}
	for _, p := range d.GetProviders() {
		if held := (*b.providers.Load())[p.GetId()]; held != nil && sameLineage(p.GetId()) && held.Revision > p.GetRevision() {
			return "provider " + p.GetId()
		}
	}
	return ""
}

// unnamed answers something that is held and that a full sync, this last delta of it included, has not named; empty: there is
// nothing. Keys that end by themselves do not count, because the two planes' calendars may differ.
func (b *Book) unnamed(last *leasev1.ResourceDelta) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	named := make(map[any]struct{}, len(last.GetKeys())+len(last.GetTokens())+len(last.GetProviders()))
	for _, k := range last.GetKeys() {
		named[KeyID(k.GetId())] = struct{}{}
	}
	for _, t := range last.GetTokens() {
		named[tokenID(t.GetId())] = struct{}{}
	}
	for _, p := range last.GetProviders() {
		named[p.GetId()] = struct{}{}
	}
	missing := func(id any) bool {
		_, before := b.sync[id]
		_, now := named[id]
		return !before && !now
	}
	for id, k := range b.keys {
		if k.lease.Load().expires == 0 && missing(id) {
			return "key " + id.String()
		}
	}
	for id := range *b.providers.Load() {
		if missing(id) {
			return "provider " + id
		}
	}
	if b.tokens.Any(func(id uint64) bool { return missing(tokenID(id)) }) {
		return "a token"
	}
	return ""
}
