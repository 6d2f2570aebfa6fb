package leases

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/provider"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

func TestATokenThatTheSyncHasNotNamedYetIsNotHeldToBeUnknown(t *testing.T) {
	d := newDesk(t)
	d.wipe() // as a new node is, or one whose lease was over
	d.clock += time.Hour
	d.renew(d.clock, time.Minute, time.Hour)
	d.beginSync()
	d.hear()
	hash := sha256.Sum256([]byte("good"))
	if _, err := d.Token(hash); !errors.Is(err, ErrDirectoryStale) {
		t.Errorf("during the sync: %v, want that this cannot be known", err)
	}
	d.give()
	if _, err := d.Token(hash); !errors.Is(err, ErrUnknownToken) {
		t.Errorf("after the sync: %v", err)
	}
}

func TestARejectionThatTheControlPlaneSeemsNotToKnowIsToldAgain(t *testing.T) {
	d := newDesk(t, key(1))
	d.settle(t, 1, provider.Verdict{Class: provider.AuthRejected})
	d.signals.take()
	d.tell(closed(1, 1)) // either older than the signal, or the second half of what was told of it
	order, _ := d.signals.take()
	if len(order) != 1 || order[0].reason != authRejected {
		t.Errorf("told %v, want the rejection: else nobody ever ends it", order)
	}
	if d.borrow(t) != 0 {
		t.Error("the key is used before its rejection was judged")
	}
}

func TestWhatHappensBetweenHelloAndSessionIsTold(t *testing.T) {
	d := newDesk(t, key(1))
	d.endSession()
	d.signals.prepare()
	if open := d.openKeys(); len(open) != 0 {
		t.Fatalf("Hello tells %v", open)
	}
	d.settle(t, 1, provider.Verdict{Class: provider.AuthRejected})
	d.sync(key(1))
	if order, _ := d.signals.take(); len(order) != 1 || order[0].reason != authRejected {
		t.Errorf("told %v, want the rejection", order)
	}
}

func TestAProbeIsNotMadeAgainstAnOperatorsWill(t *testing.T) {
	for name, change := range map[string]func(*desk){
		"disabled meanwhile":   func(d *desk) { d.tell(open(1, leasev1.Reason_REASON_ADMIN, 0)) },
		"removed meanwhile":    func(d *desk) { d.sync() },
		"asked too long ago":   func(d *desk) { d.clock += time.Minute },
		"lease and grace over": func(d *desk) { d.clock += 2 * time.Hour },
		"the node fenced":      func(d *desk) { d.wipe() },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, key(1))
			ask := open(1, leasev1.Reason_REASON_AUTH_REJECTED, 0)
			ask.State, ask.ProbeHere, ask.ProbeTtl = leasev1.KeyHealth_STATE_HALF_OPEN, true, durationOf(time.Minute)
			probes := d.tell(ask)
			if len(probes) != 1 || !probes[0].Loan.Usable() {
				t.Fatalf("probes: %v", probes)
			}
			change(d)
			if probes[0].Loan.Usable() {
				t.Error("the probe would still be made")
			}
		})
	}
}

func TestWhatIsHeldAgainstAKeyOfAnotherLineageDoesNotOutlastTheSync(t *testing.T) {
	renewed := key(1)
	renewed.Generation = 3
	d := newDesk(t, renewed)
	d.settle(t, 1, provider.Verdict{Class: provider.AuthRejected})
	d.sync(key(1)) // a restored backup: generation 1, and what Hello told of generation 3 was dropped
	if d.borrow(t) != 1 {
		t.Error("the key is out, and nobody will ever judge it")
	}
}

func TestAKeyThatComesBackWhileItIsLookedAt(t *testing.T) {
	d := newDesk(t, key(1))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20_000 {
			d.tell(open(1, leasev1.Reason_REASON_RATE_LIMITED, time.Minute))
			d.sync(key(1))
		}
	}()
	for {
		select {
		case <-done:
			return
		default:
			_, _ = d.Borrow(Want{Provider: "ollama", Model: "m"}) // must not panic
		}
	}
}

// reporterWith is a reporter that has confirmed five batches of epoch 7 and waits for the confirmation of two more.
func reporterWith(d *desk) *Reporter {
	r := newReporter(d.Book)
	r.welcome(7, 0, 4)
	for range 7 {
		d.counts.attempt(1, "ollama", Attempt{})
		r.seal()
		if r.last <= 5 {
			_, _ = r.acknowledged(&leasev1.ReportOutcomesResponse{NodeEpoch: 7, CommittedSeq: r.last}, r.count)
		}
	}
	return r
}

func TestCountsThatTheControlPlaneHasLostDoNotStopThoseThatFollow(t *testing.T) {
	r := reporterWith(newDesk(t, key(1)))
	again := &leasev1.ReportOutcomesResponse{NodeEpoch: 7, CommittedSeq: 3, ResendFrom: 4} // restored: 4 and 5 are gone
	if _, err := r.acknowledged(again, r.count); !errors.Is(err, errCountsLost) {
		t.Fatalf("got %v, want a new epoch", err)
	}
	r.welcome(8, 0, 4)
	sent, err := r.acknowledged(again, r.count)
	if err != nil || len(r.pending) != 2 {
		t.Fatalf("got %v with %d batches", err, len(r.pending))
	}
	for i, s := range r.pending {
		if s.epoch != 8 || s.seq != uint64(i+1) || s.order <= sent {
			t.Errorf("batch %d is %d of epoch %d, order %d; sent up to %d", i, s.seq, s.epoch, s.order, sent)
		}
	}
	if sent, err = r.acknowledged(again, sent); err != nil || r.last != 2 { // the answer to the second batch
		t.Errorf("a late answer: %v, last %d", err, r.last)
	}
	_, _ = r.acknowledged(&leasev1.ReportOutcomesResponse{NodeEpoch: 8, CommittedSeq: 2}, sent)
	if r.Unconfirmed() != 0 {
		t.Errorf("%d batches are left", r.Unconfirmed())
	}
}

func TestABatchThatGotLostOnTheWayIsSentAgain(t *testing.T) {
	r := reporterWith(newDesk(t, key(1)))
	sent, err := r.acknowledged(&leasev1.ReportOutcomesResponse{NodeEpoch: 7, CommittedSeq: 5, ResendFrom: 6}, r.count)
	if err != nil || sent != 5 || r.pending[0].seq != 6 {
		t.Errorf("sent up to %d, %v", sent, err)
	}
}

func TestALongOutagesCountsComeInBatchesThatFitIntoAMessage(t *testing.T) {
	d := newDesk(t, key(1))
	for id := range KeyID(2 * maxRows) {
		d.counts.attempt(id+1, "ollama", Attempt{Verdict: provider.Verdict{Class: provider.OK}})
	}
	seen := map[uint64]bool{}
	for b := d.counts.take(); b != nil; b = d.counts.take() {
		if len(b.GetKeys()) > maxRows {
			t.Fatalf("%d rows in one batch", len(b.GetKeys()))
		}
		for _, k := range b.GetKeys() {
			if seen[k.GetKeyId()] {
				t.Fatal("a row was taken twice")
			}
			seen[k.GetKeyId()] = true
		}
	}
	if len(seen) != 2*maxRows {
		t.Errorf("%d rows were taken", len(seen))
	}
}

func TestACertificateOfAnotherKeyIsTheRestOfAJoinThatWasCutOff(t *testing.T) {
	dir := t.TempDir()
	before, next := selfSigned(t), selfSigned(t)
	if err := before.save(dir); err != nil {
		t.Fatal(err)
	}
	if id, err := loadIdentity(dir); err != nil || id == nil {
		t.Fatalf("what was saved: %v, %v", id, err)
	}
	next.key = before.key // the new certificate is there, the new key is not yet
	if err := next.save(dir); err != nil {
		t.Fatal(err)
	}
	if id, err := loadIdentity(dir); err != nil || id != nil {
		t.Errorf("got %v, %v; want to join anew", id, err)
	}
}

func selfSigned(t *testing.T) *identity {
	t.Helper()
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &identity{key: key, leaf: cert, ca: cert}
}
