package leases

import (
	"context"
	"errors"
	mrand "math/rand/v2"
	"time"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// send is the only goroutine that sends: confirmations, signals and heartbeats, as they fall due.
func (s *session) send(ctx context.Context) error {
	every := s.welcome.GetHeartbeatInterval().AsDuration()
	beat := time.NewTimer(jitter(every))
	defer beat.Stop()
	b := s.link.book
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	looked := b.now()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.link.leave:
			err = s.stream.Send(&leasev1.SessionRequest{Message: &leasev1.SessionRequest_Leave{Leave: &leasev1.Leave{Reason: "stopping", Spent: wireHoldings(b.shares.Spent())}}})
			_ = s.stream.CloseSend()
			<-ctx.Done() // the control plane ends the session
			return err
		case <-s.applied.wake:
			err = s.stream.Send(s.ack())
		case <-look.C:
			now := b.now()
			err = s.tellCapacity(now - looked)
			looked = now
		case <-b.signals.wake:
			if s.opening.Load() { // the next session tells them, or this one if there will be none
				continue
			}
			if m := keySignals(b.signals.take()); m != nil {
				err = s.stream.Send(m)
			}
		case <-beat.C:
			if b.now()-s.lastRenewal() > 2*every+every/2 {
				return errors.New("the control plane has stopped answering heartbeats")
			}
			err = s.stream.Send(s.heartbeat(every))
			beat.Reset(jitter(every))
		}
		if err != nil {
			<-ctx.Done() // the receiver has the reason, and ends the context with it
			return ctx.Err()
		}
	}
}

// lookEvery is how often it is looked for what has come free of what is to be given back, and for what clients ask.
const lookEvery = 200 * time.Millisecond

// tellCapacity tells what was given back and what clients have asked for since the last time.
func (s *session) tellCapacity(since time.Duration) error {
	shares := s.link.book.shares
	if shares.Giving() {
		if err := s.stream.Send(s.ack()); err != nil {
			return err
		}
	}
	if wants := shares.Demand(since); len(wants) > 0 {
		return s.stream.Send(wireDemand(wants))
	}
	return nil
}

func (s *session) ack() *leasev1.SessionRequest {
	granted, held := s.link.book.shares.Report()
	s.applied.mu.Lock()
	refused := s.applied.refused
	s.applied.refused = nil
	s.applied.mu.Unlock()
	return &leasev1.SessionRequest{Message: &leasev1.SessionRequest_Ack{Ack: &leasev1.Ack{
		DeltaSeq: s.applied.delta.Load(), HealthSeq: s.applied.health.Load(), CommandSeq: s.applied.command.Load(), Rejected: refused,
		GrantSeq: granted, Holdings: wireHoldings(held),
	}}}
}

func (s *session) heartbeat(every time.Duration) *leasev1.SessionRequest {
	b := s.link.book
	b.sweepShares()
	s.beats.mu.Lock()
	s.beats.seq++
	seq := s.beats.seq
	s.beats.sent[seq] = b.now()
	s.beats.mu.Unlock()
	return &leasev1.SessionRequest{Message: &leasev1.SessionRequest_Heartbeat{Heartbeat: &leasev1.Heartbeat{
		HeartbeatSeq: seq,
		Status: &leasev1.NodeStatus{
			InFlight: uint32(b.InFlight()), KeysHeld: uint32(b.Held()),
			RequestsPerSecond:     float64(b.arrived.Swap(0)) / every.Seconds(),
			UnacknowledgedBatches: uint32(s.link.reporter.Unconfirmed()),
			Caches:                s.link.caches(),
			Draining:              s.link.Drained(),
		},
	}}}
}

func (s *session) lastRenewal() time.Duration {
	s.beats.mu.Lock()
	defer s.beats.mu.Unlock()
	return s.beats.renewed
}

// lastBeat answers the number of the last heartbeat; 0: none was sent.
func (s *session) lastBeat() uint64 {
	s.beats.mu.Lock()
	defer s.beats.mu.Unlock()
	return s.beats.seq
}

func keySignals(order []signal, what map[signal]*told) *leasev1.SessionRequest {
	if len(order) == 0 {
		return nil
	}
	list := make([]*leasev1.KeySignal, 0, len(order))
	for _, s := range order {
		t := what[s]
		k := &leasev1.KeySignal{
			KeyId: uint64(s.key), Generation: s.generation, Reason: leasev1.Reason(s.reason), Probe: s.probe,
			HttpStatus: uint32(max(t.status, 0)), Count: uint32(t.count),
		}
		if t.retryAfter > 0 {
			k.RetryAfter = durationOf(t.retryAfter)
		}
		list = append(list, k)
	}
	return &leasev1.SessionRequest{Message: &leasev1.SessionRequest_Signals{Signals: &leasev1.KeySignals{Signals: list}}}
}

// jitter spreads by a tenth, so that a fleet that came up together does not beat together.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*mrand.Float64())) //nolint:gosec // spreads load
}
