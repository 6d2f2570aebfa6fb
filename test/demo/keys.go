package main

import (
	"crypto/rand"
	"fmt"
	"time"

	"ollama-api-pool/test/fakellm"
)

// scripted is a pretend key: how it behaves, and when it does so anew.
type scripted struct {
	label    string
	tells    string // what a newcomer is to see
	fault    string // what its broken answers are called; statuses have their own names
	behaves  fakellm.Behaviour
	again    time.Duration // the behaviour begins anew so long after it began; 0: never
	together bool          // joins at once with the one before
	secret   string
	id       string    // at the control plane; empty: not there yet
	lastTime time.Time // the behaviour began
}

const goodKeys = 5 // that are there from the start

// The two settings that the demo shortens, so that a minute shows what would take an hour.
const (
	firstByte = 3 * time.Second
	ejectFor  = 30 * time.Second
)

// script is the keys in the order in which they join. Those that name themselves (401, 429, 402) come together, so that a
// request may meet several; they cost it no try. Of the others one joins at a time: a request has only three tries for them.
func script() []*scripted {
	var keys []*scripted
	for n := range goodKeys {
		keys = append(keys, &scripted{label: fmt.Sprint("good ", n+1), behaves: good})
	}
	keys = append(keys, bad()...)
	for _, k := range keys {
		k.secret = "pretend-" + rand.Text()
	}
	return keys
}

var good = fakellm.Behaviour{Delay: 60 * time.Millisecond, ChunkInterval: 20 * time.Millisecond}

func bad() []*scripted {
	return []*scripted{
		{
			label: "rejected (401)", behaves: fakellm.Behaviour{Status: 401},
			tells: "the other data plane asks once more; then it is out for an hour",
		},
		{
			label: "rate limited (429) for 15 s", behaves: fakellm.Behaviour{Status: 429, RetryAfter: "15", CoolUntilRetryAfter: true},
			again: time.Minute, together: true, tells: "left alone until then, by every data plane",
		},
		{
			label: "out of quota (402)", behaves: fakellm.Behaviour{Status: 402},
			together: true, tells: "left alone for an hour, as the upstream does not say how long",
		},
		{
			label: "always 500", behaves: fakellm.Behaviour{Status: 500},
			tells: "out after three failures in a row; a probe will ask whether it is back",
		},
		{
			label: "down (503) for 20 s", behaves: fakellm.Behaviour{Status: 503, RetryAfter: "20", CoolUntilRetryAfter: true},
			again: 100 * time.Second, tells: "out like the 500, and back by one good probe",
		},
		{
			label: "HTML with a 200", behaves: fakellm.Behaviour{HTML: true, Times: 4}, fault: "web page",
			again: 100 * time.Second, tells: "a 200 that is no answer is a failure too (four times, then it is well)",
		},
		{
			label: "error as first event", behaves: fakellm.Behaviour{FirstEventError: true, Times: 4}, fault: "200 with an error",
			again: 100 * time.Second, tells: "the first event of a stream is read before the client is answered",
		},
		{
			label: "hangs", behaves: fakellm.Behaviour{Hang: true},
			tells: "no first byte in " + seconds(firstByte) + ", then the next key; the client has only waited",
		},
		{
			label: "slow (1 s)", behaves: fakellm.Behaviour{Delay: time.Second, ChunkInterval: 20 * time.Millisecond},
			tells: "slow is not broken; nothing happens to it",
		},
		{
			label: "500 every now and then", behaves: fakellm.Behaviour{Status: 500, Times: 1}, again: 8 * time.Second,
			tells: "never three in a row, so it stays in use; clients see nothing",
		},
		{
			label: cutting, behaves: fakellm.Behaviour{TruncateAfter: 2, Times: 1}, again: 20 * time.Second,
			tells: "now and then; the one fault that a client can see",
		},
	}
}

const cutting = "cut in the middle of a stream"

func seconds(d time.Duration) string { return fmt.Sprintf("%g s", d.Seconds()) }
