package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// demo is the whole of it.
type demo struct {
	options
	up   *upstream
	op   *operator
	say  *voice
	keys []*scripted

	traffic *traffic
	watch   *watch
	next    int       // of keys: joins next
	due     time.Time // when it does
}

const (
	joinEvery  = 5 * time.Second
	totalEvery = 10 // seconds
)

// prepare leaves a pool that answers on every data plane.
func (d *demo) prepare(ctx context.Context) error {
	if err := d.op.pointAt(ctx, d.up.url); err != nil {
		return err
	}
	token, err := d.op.clientToken(ctx, d.dir)
	if err != nil {
		return err
	}
	d.traffic = newTraffic(token, d.planes, d.up, d.say, d.keys)
	d.watch = &watch{op: d.op, say: d.say, labels: map[string]string{}, before: map[string]keyState{}}
	for range goodKeys {
		if err := d.join(ctx); err != nil {
			return err
		}
	}
	for _, p := range d.planes {
		if err := d.answers(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// join makes the next key known to the upstream and to the control plane.
func (d *demo) join(ctx context.Context) error {
	k := d.keys[d.next]
	if err := d.behave(k); err != nil {
		return err
	}
	if err := d.op.add(ctx, k); err != nil {
		return err
	}
	d.watch.joined(k)
	d.next++
	return nil
}

// behave begins a key's behaviour, also anew.
func (d *demo) behave(k *scripted) error {
	k.lastTime = time.Now()
	return d.up.SetKey(k.secret, k.behaves)
}

// answers waits until a data plane has heard of the token and the keys.
func (d *demo) answers(ctx context.Context, p plane) error {
	for range 100 {
		got := d.traffic.client.ask(ctx, p, question{model: models[0], text: "ready?"})
		if got.err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("the data plane in %s does not answer", p.region)
}

// play goes on until it is told to end (no error), or its time is over (an error: it has not shown what it should).
func (d *demo) play(ctx context.Context) error {
	playing, end := context.WithCancel(ctx)
	if d.lasts > 0 {
		playing, end = context.WithTimeout(ctx, d.lasts)
	}
	defer end()
	d.say.text(d.welcome())
	d.say.line("keys", "%d good ones to begin with; every %s others join that fail in their own way", goodKeys, seconds(joinEvery))

	sent := make(chan struct{})
	go func() {
		defer close(sent)
		d.traffic.run(playing)
	}()
	d.due = time.Now().Add(2 * time.Second)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for n := 1; playing.Err() == nil; n++ {
		d.tick(playing, n)
		select {
		case <-playing.Done():
		case <-second.C:
		}
	}
	<-sent
	d.say.text(d.farewell(context.WithoutCancel(ctx)))
	if ctx.Err() != nil {
		return nil
	}
	return d.traffic.tally().verdict()
}

// tick is what happens every second.
func (d *demo) tick(ctx context.Context, n int) {
	now := time.Now()
	d.watch.look(ctx, now, d.traffic.tally())
	if d.next < len(d.keys) && !now.Before(d.due) {
		d.introduce(ctx, now)
	}
	for _, k := range d.keys[:d.next] {
		if k.again > 0 && now.Sub(k.lastTime) >= k.again {
			_ = d.behave(k) // has behaved so before
		}
	}
	if n%totalEvery == 0 {
		d.total()
	}
}

// introduce lets the next key join, and those that come with it. While the control plane is away it waits.
func (d *demo) introduce(ctx context.Context, now time.Time) {
	if !d.watch.away.IsZero() {
		return
	}
	d.say.text("\n")
	for {
		k := d.keys[d.next]
		d.say.line("new key", "'%s': %s", k.label, k.tells)
		if d.join(ctx) != nil {
			return
		}
		if d.next == len(d.keys) || !d.keys[d.next].together {
			break
		}
	}
	d.due = now.Add(joinEvery)
	if d.next == len(d.keys) {
		d.say.text("\n" + d.guide() + "\n")
	}
}

func (d *demo) total() {
	c := d.traffic.tally()
	_, tries, bad := d.up.counts()
	active, cooling, out := d.watch.inUse()
	keys := fmt.Sprintf("%s on, %d cooling, %d out", count(active, "key"), cooling, out)
	if !d.watch.away.IsZero() {
		keys = "control plane away"
	}
	each := float64(tries) / float64(max(c.requests, 1))
	d.say.line("", "%s, %s; %s (%.2f each), %d failed; %s",
		count(c.requests, "request"), count(c.errors(), "client error"), count(tries, "attempt"), each, bad, keys)
}

// verdict says whether the demo has shown what it should.
func (t tally) verdict() error {
	switch {
	case t.failovers == 0:
		return errors.New("no failover was seen")
	case t.failed > 0:
		return fmt.Errorf("clients saw %s that nothing explains", count(t.failed, "error"))
	default:
		return nil
	}
}
