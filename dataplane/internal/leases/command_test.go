package leases

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

func drainOf(seq uint64, drain bool) *leasev1.NodeCommand {
	return &leasev1.NodeCommand{CommandSeq: seq, Command: &leasev1.NodeCommand_DrainNode{DrainNode: &leasev1.DrainNode{Drain: drain}}}
}

func TestADrainIsObeyedConfirmedAndTold(t *testing.T) {
	l := NewLink(LinkConfig{Book: newDesk(t).Book})
	for seq, drain := range []bool{true, false, true} {
		s := hears(l, drainOf(uint64(seq+1), drain))
		if l.Drained() != drain || s.ack().GetAck().GetCommandSeq() != uint64(seq+1) {
			t.Errorf("told %v: drained %v, confirmed %d", drain, l.Drained(), s.ack().GetAck().GetCommandSeq())
		}
		if s.heartbeat(time.Second).GetHeartbeat().GetStatus().GetDraining() != drain {
			t.Errorf("told %v, and a heartbeat says otherwise", drain)
		}
	}
}

func TestAnEvictedNodeHoldsNothingBeforeItConfirms(t *testing.T) {
	d := newDesk(t, key(1))
	l := NewLink(LinkConfig{Book: d.Book})
	s := hears(l, &leasev1.NodeCommand{CommandSeq: 4, Command: &leasev1.NodeCommand_Evict{Evict: &leasev1.Evict{}}})
	if d.Held() != 0 || d.Ready() == nil || s.ack().GetAck().GetCommandSeq() != 4 {
		t.Errorf("it holds %d keys, ready: %v, confirmed %d", d.Held(), d.Ready(), s.ack().GetAck().GetCommandSeq())
	}
}

func TestWhyAProcessMustStop(t *testing.T) {
	evicted, err := status.New(codes.Aborted, "x").WithDetails(&errdetails.ErrorInfo{Reason: "NODE_EVICTED"})
	if err != nil {
		t.Fatal(err)
	}
	away := status.Error(codes.Unavailable, "x")
	for _, row := range []struct{ got, want error }{
		{evicted.Err(), ErrEvicted},
		{status.Error(codes.Aborted, "x"), ErrFenced},
		{away, away},
	} {
		if got := stopped(row.got); !errors.Is(got, row.want) {
			t.Errorf("%v means %v, want %v", row.got, got, row.want)
		}
	}
}
