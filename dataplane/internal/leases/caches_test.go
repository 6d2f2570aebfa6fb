package leases

import (
	"io"
	"slices"
	"testing"
	"time"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// script is a stream on which the control plane says so much and then nothing more.
type script struct {
	leasev1.LeaseService_SessionClient
	says []*leasev1.SessionResponse
}

func (s *script) Recv() (*leasev1.SessionResponse, error) {
	if len(s.says) == 0 {
		return nil, io.EOF
	}
	next := s.says[0]
	s.says = s.says[1:]
	return next, nil
}

// hears lets a session of the link hear these commands.
func hears(l *Link, commands ...*leasev1.NodeCommand) *session {
	stream := &script{}
	for _, c := range commands {
		stream.says = append(stream.says, &leasev1.SessionResponse{Message: &leasev1.SessionResponse_Command{Command: c}})
	}
	s := &session{link: l, stream: stream}
	s.watch = &watch{link: l, session: s}
	s.applied.wake = make(chan struct{}, 1)
	s.beats.sent = map[uint64]time.Duration{}
	_ = s.receive() // ends with io.EOF
	return s
}

func clearOf(seq uint64, providers ...string) *leasev1.NodeCommand {
	return &leasev1.NodeCommand{CommandSeq: seq, Command: &leasev1.NodeCommand_ClearCache{
		ClearCache: &leasev1.ClearCache{ProviderIds: providers},
	}}
}

func TestACommandIsDoneAndConfirmed(t *testing.T) {
	var done [][]string
	l := NewLink(LinkConfig{Book: newDesk(t).Book, ClearCaches: func(providers []string) { done = append(done, providers) }})
	s := hears(l, clearOf(1, "ollama", "mine"), clearOf(2))
	if len(done) != 2 || !slices.Equal(done[0], []string{"ollama", "mine"}) || len(done[1]) != 0 {
		t.Errorf("did %v", done)
	}
	select {
	case <-s.applied.wake:
	default:
		t.Error("nobody sends the confirmation")
	}
	if got := s.ack().GetAck().GetCommandSeq(); got != 2 {
		t.Errorf("confirmed up to %d, want 2", got)
	}
}

func TestACommandThatThisVersionDoesNotKnowIsConfirmed(t *testing.T) {
	l := NewLink(LinkConfig{Book: newDesk(t).Book, ClearCaches: func([]string) { t.Error("cleared something") }})
	if got := hears(l, &leasev1.NodeCommand{CommandSeq: 1}).ack().GetAck().GetCommandSeq(); got != 1 {
		t.Errorf("confirmed up to %d, want 1", got)
	}
}

func TestANodeThatKeepsNothingConfirmsAClearAndTellsNothing(t *testing.T) {
	s := hears(NewLink(LinkConfig{Book: newDesk(t).Book}), clearOf(1))
	if got := s.ack().GetAck().GetCommandSeq(); got != 1 {
		t.Errorf("confirmed up to %d, want 1", got)
	}
	if got := s.heartbeat(time.Second).GetHeartbeat().GetStatus().GetCaches(); got != nil {
		t.Errorf("told %v", got)
	}
}

func TestAHeartbeatTellsWhatIsKept(t *testing.T) {
	l := NewLink(LinkConfig{Book: newDesk(t).Book, Caches: func() []CacheStatus {
		return []CacheStatus{{Provider: "mine", Misses: 2}, {Provider: "ollama", Lists: 1, Bytes: 100, Hits: 3, Misses: 4}}
	}})
	told := hears(l).heartbeat(time.Second).GetHeartbeat().GetStatus().GetCaches()
	if len(told) != 2 || told[0].GetProviderId() != "mine" || told[0].GetModelListMisses() != 2 || told[0].GetModelLists() != 0 {
		t.Fatalf("told %v", told)
	}
	if c := told[1]; c.GetModelLists() != 1 || c.GetModelListBytes() != 100 || c.GetModelListHits() != 3 || c.GetModelListMisses() != 4 {
		t.Errorf("told %v", c)
	}
}
