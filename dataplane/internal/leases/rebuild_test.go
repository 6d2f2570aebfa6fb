package leases

import (
	"testing"
	"testing/synctest"
	"time"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

func TestARotationThatTakesLongIsNotMadeForEveryPieceOfAnImport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, key(1))
		piece := func(id uint64) {
			d.applyDelta(&leasev1.ResourceDelta{CompleteRevision: id, Keys: []*leasev1.UpstreamKey{key(id)}})
		}
		held := func() int {
			d.mu.Lock() // the timer's goroutine may be at it
			defer d.mu.Unlock()
			return len((*d.rings.Load())["ollama"].tiers[0].keys)
		}
		piece(2)
		if held() != 2 {
			t.Fatalf("%d keys are in the rotation, want 2: it took no time", held())
		}
		d.mu.Lock()
		d.rebuilds.next = time.Now().Add(time.Second) // it has taken 100 ms
		d.mu.Unlock()
		for id := range uint64(5) {
			piece(3 + id)
		}
		d.tell(open(1, leasev1.Reason_REASON_ADMIN, 0))
		if held() != 2 || !d.only(t, 2) {
			t.Errorf("%d keys are in the rotation; what takes a key out must not wait", held())
		}
		time.Sleep(time.Second + time.Millisecond)
		if held() != 7 {
			t.Errorf("%d keys are in the rotation in the end, want 7", held())
		}
		piece(8)
		if held() != 8 {
			t.Errorf("after the rest %d keys are in the rotation, want 8", held())
		}
	})
}
