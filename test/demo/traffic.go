package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"ollama-api-pool/test/fakellm"
)

const pace = 80 * time.Millisecond // between two requests: twelve a second

// traffic is the demo's clients: every other request is a stream, and all data planes and models get their share.
type traffic struct {
	client *client
	planes []plane
	up     *upstream
	say    *voice
	named  map[string]*scripted // by secret

	mu     sync.Mutex // guards the rest
	counts tally
	told   map[string]bool // ways of failing over that were told
	lastly time.Time       // when a failover was told
}

// tally is what the clients saw.
type tally struct {
	requests  int
	failovers int // answered in full, after more than one try
	cut       int // errors that the cutting key explains
	failed    int // all other errors
}

func (t tally) errors() int { return t.cut + t.failed }

func newTraffic(token string, planes []plane, up *upstream, say *voice, keys []*scripted) *traffic {
	t := &traffic{
		client: &client{token: token, http: &http.Client{Timeout: 30 * time.Second}},
		planes: planes, up: up, say: say, named: map[string]*scripted{}, told: map[string]bool{},
	}
	for _, k := range keys {
		t.named[k.secret] = k
	}
	return t
}

// run sends until ctx is done, and waits for what is under way.
func (t *traffic) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	next := time.NewTicker(pace)
	defer next.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		// Not the demo's context: what has begun is to be answered.
		running.Go(func() { t.send(context.WithoutCancel(ctx), n) })
	}
}

func (t *traffic) send(ctx context.Context, n int) {
	to := t.planes[n%len(t.planes)]
	n /= len(t.planes)
	q := question{
		id: fmt.Sprintf("demo-%s-%d", to.region, n), model: models[n/2%len(models)],
		text: fmt.Sprintf("hello %d", n), stream: n%2 == 0,
	}
	t.up.expect(q.id)
	got := t.client.ask(ctx, to, q)
	t.tell(to, got, t.up.take(q.id, got.attempts))
}

// tell counts what a client got, and says so if it is worth a line.
func (t *traffic) tell(to plane, got outcome, tries []fakellm.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.requests++
	way := t.way(tries)
	switch {
	case got.err == nil && got.attempts > 1:
		t.counts.failovers++
		if t.worthALine(way) {
			t.say.line("failover", "%s: one request, %d keys: %s; the client saw a %d", to.region, got.attempts, way, got.status)
		}
	case got.err != nil && cutByScript(tries):
		t.counts.cut++
		t.say.line("client", "%s: an error: the stream was cut after its first words; those cannot be taken back", to.region)
	case got.err != nil:
		t.counts.failed++
		t.say.line("client", "%s: a client saw an error: %v (%s)", to.region, got.err, way)
	}
}

// worthALine says yes to what is new, and otherwise now and then: twelve requests a second would be a flood.
func (t *traffic) worthALine(way string) bool {
	now := time.Now()
	if t.told[way] && now.Sub(t.lastly) < 10*time.Second {
		return false
	}
	t.told[way], t.lastly = true, now
	return true
}

func (t *traffic) tally() tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

// way tells what became of each try, in order.
func (t *traffic) way(tries []fakellm.Entry) string {
	words := make([]string, 0, len(tries))
	for _, e := range tries {
		words = append(words, t.word(e))
	}
	return strings.Join(words, " → ")
}

func (t *traffic) word(e fakellm.Entry) string {
	switch e.Outcome {
	case fakellm.Completed:
		return "answered"
	case fakellm.Refused:
		return refusal(e.Status)
	case fakellm.Cut:
		return "cut off"
	case fakellm.Canceled:
		return "no answer in time"
	default:
		return t.named[e.Key].fault
	}
}

func refusal(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "401 rejected"
	case http.StatusPaymentRequired:
		return "402 no quota"
	case http.StatusTooManyRequests:
		return "429 limited"
	default:
		return fmt.Sprint(status)
	}
}

// cutByScript says whether the last try was cut after its answer had begun, which is what the cutting key does.
func cutByScript(tries []fakellm.Entry) bool {
	if len(tries) == 0 {
		return false
	}
	last := tries[len(tries)-1]
	return last.Outcome == fakellm.Cut && last.Events > 0
}
