package leases

import (
	"encoding/binary"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"ollama-api-pool/dataplane/internal/journal"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// notes is the journal of what this process counts, so that a kill loses nothing of it: the next process of the node, with the same
// folder, reports what this one had not got confirmed, under this one's epoch. It holds ids, names of models and counts; no
// text and no secret.
//
// What is noted: each attempt and each request when it begins and when it is counted, each batch when it is sealed, and what was
// confirmed. The rule that makes it exact: an outcome is counted and noted under the read side of cut, with the present
// generation; a batch takes all that is counted under its write side, and begins the next generation. So a seal covers the
// outcomes of its generation and of all before it, and no other. A seal is noted before the batch is sent for the first time;
// if the process dies between the two, its outcomes are uncovered, and nobody has heard of the batch.
//
// What is left of a process is read the same however often: so a process that dies while it reports for a former one changes
// nothing. What the control plane has of it already it tells by the batches' names.
type notes struct {
	w   *journal.Writer
	cut sync.RWMutex
	// generation is of the outcomes that no seal covers yet; guarded by cut.
	generation uint64

	mu    sync.Mutex        // guards what follows, and the order of records about them
	last  uint64            // id of the last beginning
	begun map[uint64][]byte // what has begun and not ended: carried over into each new file
	epoch uint64
	ends  []uint64 // of each file that is full: the generation up to which it has outcomes
	first int      // the file that the first of them is about
}

// The kinds of records.
const (
	noteEpoch   = 'e' // epoch
	noteBegun   = 's' // id, row with one unknown
	noteEnded   = 'o' // id, generation, row; without a row it has come to nothing that counts
	noteSealed  = 'b' // generation, epoch and number that it replaces or 0, batches
	noteConfirm = 'c' // epoch, number
)

func newNotes(w *journal.Writer) *notes {
	if w == nil {
		return nil
	}
	return &notes{w: w, generation: 1, begun: map[uint64][]byte{}}
}

func numbers(list ...uint64) []byte {
	var b []byte
	for _, n := range list {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func encoded(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil { // messages of numbers and names always encode; names that are no UTF-8 do not come this far
		return nil
	}
	return b
}

// began notes that something has begun, and answers under which id.
func (n *notes) began(row *leasev1.OutcomeBatch) uint64 {
	text := encoded(row)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	n.begun[n.last] = text
	n.w.Append(noteBegun, numbers(n.last), text)
	return n.last
}

// ended counts an outcome and notes it; nil: it does not count.
func (n *notes) ended(id uint64, row *leasev1.OutcomeBatch, count func()) {
	n.cut.RLock()
	defer n.cut.RUnlock()
	var text []byte
	if row != nil {
		count()
		text = encoded(row)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.begun, id)
	n.w.Append(noteEnded, numbers(id, n.generation), text)
}

// close takes all that is counted, and answers which generation that is.
func (n *notes) close(c *counts) (all []*leasev1.OutcomeBatch, generation uint64) {
	n.cut.Lock()
	defer n.cut.Unlock()
	for batch := c.take(); batch != nil; batch = c.take() {
		all = append(all, batch)
	}
	if len(all) == 0 {
		return nil, 0
	}
	n.generation++
	return all, n.generation - 1
}

// sealed notes batches that were made of a generation; with replaced, that they are another one's under a new name.
func (n *notes) sealed(generation uint64, list []sealed, replaced *sealed) {
	head := numbers(generation, 0, 0)
	if replaced != nil {
		head = numbers(generation, replaced.epoch, replaced.seq)
	}
	for _, s := range list {
		text := encoded(&leasev1.ReportOutcomesRequest{NodeEpoch: s.epoch, Seq: s.seq, Batch: s.batch})
		head = append(binary.AppendUvarint(head, uint64(len(text))), text...)
	}
	n.cut.RLock()
	defer n.cut.RUnlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.w.Append(noteSealed, head)
	if !n.w.Turn() {
		return
	}
	n.ends = append(n.ends, n.generation)
	n.w.Append(noteEpoch, numbers(n.epoch))
	for _, id := range slices.Sorted(maps.Keys(n.begun)) {
		n.w.Append(noteBegun, numbers(id), n.begun[id])
	}
}

// confirmed notes that batches of an epoch are committed; all generations before open are.
func (n *notes) confirmed(epoch, committed, open uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if committed > 0 {
		n.w.Append(noteConfirm, numbers(epoch, committed))
	}
	for len(n.ends) > 0 && n.ends[0] < open {
		n.ends = n.ends[1:]
		n.first++
	}
	n.w.Keep(n.first)
}

// present answers the generation that is open.
func (n *notes) present() uint64 {
	n.cut.RLock()
	defer n.cut.RUnlock()
	return n.generation
}

func (n *notes) entered(epoch uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.epoch != epoch {
		n.epoch = epoch
		n.w.Append(noteEpoch, numbers(epoch))
	}
}

// attemptRow is one attempt as a batch of its own.
func attemptRow(key KeyID, providerID, model string, fill func(*leasev1.KeyCounters)) *leasev1.OutcomeBatch {
	k := &leasev1.KeyCounters{KeyId: uint64(key)}
	fill(k)
	return &leasev1.OutcomeBatch{
		Models: []*leasev1.ModelRef{{ProviderId: providerID, Name: valid(model)}}, Keys: []*leasev1.KeyCounters{k},
	}
}

// requestRow is one request as a batch of its own.
func requestRow(token uint64, providerID, model string, fill func(*leasev1.TokenCounters)) *leasev1.OutcomeBatch {
	t := &leasev1.TokenCounters{TokenId: token}
	fill(t)
	return &leasev1.OutcomeBatch{
		Models: []*leasev1.ModelRef{{ProviderId: providerID, Name: valid(model)}}, Tokens: []*leasev1.TokenCounters{t},
	}
}

// begin notes a loan that may be dispatched from now on.
func (b *Book) begin(l *Loan, model string) {
	if b.notes == nil {
		return
	}
	l.entry = b.notes.began(attemptRow(l.key.ID, l.of.provider, b.counts.models.fold(l.of.provider, model).name, func(k *leasev1.KeyCounters) {
		k.Unknown = 1
	}))
}

// countAttempt counts a loan that was dispatched.
func (b *Book) countAttempt(l Loan, a Attempt) {
	count := func() { b.counts.attempt(l.key.ID, l.of.provider, a) }
	if b.notes == nil {
		count()
		return
	}
	name := b.counts.modelOf(l.of.provider, a).name
	b.notes.ended(l.entry, attemptRow(l.key.ID, l.of.provider, name, func(k *leasev1.KeyCounters) { addAttempt(k, a) }), count)
}

// countRequest counts a request that is over.
func (b *Book) countRequest(r Request) {
	count := func() { b.counts.request(r) }
	if b.notes == nil {
		count()
		return
	}
	name := b.counts.models.fold(r.Provider, r.Model).name
	b.notes.ended(r.Entry, requestRow(r.Token, r.Provider, name, func(t *leasev1.TokenCounters) { addRequest(t, r) }), count)
}
