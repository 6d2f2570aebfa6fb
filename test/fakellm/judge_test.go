package fakellm

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// at makes an entry of a chat completion that starts after d and takes a second.
func at(seq int64, d time.Duration, key, request string) Entry {
	return Entry{
		Seq: seq, Start: t0.Add(d), End: t0.Add(d + time.Second), Key: key, RequestID: request,
		Path: "/v1/chat/completions", Status: 200, Outcome: Completed, Headers: http.Header{"Accept": {"*/*"}},
	}
}

func with(e Entry, change func(*Entry)) Entry {
	change(&e)
	return e
}

func probe(e *Entry)   { e.Probe = true }
func list(e *Entry)    { e.Path = "/v1/models" }
func count(e *Entry)   { e.Path = "/v1/messages/count_tokens" }
func refused(e *Entry) { e.Outcome, e.Status = Refused, 429 }
func running(e *Entry) { e.Outcome, e.End = "", time.Time{} }

func by(path string) func(*Entry) { return func(e *Entry) { e.Path = path } }

// TestJudges has both verdicts for each judge: one that cannot fail is no judge.
func TestJudges(t *testing.T) {
	const a, b = "sk-pretend-aaaa", "sk-pretend-bbbb"
	const second, minute = time.Second, time.Minute
	type entries = []Entry
	doubleTries := DoubleTries
	threeTries := func(e entries) []string { return MoreTriesThan(e, 2) }
	usedAfter := func(e entries) []string { return UsedAfter(e, a, t0.Add(minute)) }
	usedBetween := func(e entries) []string { return UsedBetween(e, a, t0, t0.Add(minute)) }
	onlyA := func(e entries) []string { return UnexpectedKeys(e, a) }
	twoAMinute := func(e entries) []string { return OverRate(e, a, 2) }
	oneAtOnce := func(e entries) []string { return OverConcurrency(e, a, 1) }
	carried := func(e entries) []string { return Carried(e, "sk-pool-x") }
	cookie := func(e entries) []string { return SentHeader(e, "cookie", "X-Forwarded-For") }

	tests := []struct {
		sentence string
		judge    func([]Entry) []string
		entries  entries
		want     int
	}{
		{"Two keys for one request are fine", doubleTries, entries{at(1, 0, a, "r1"), at(2, 0, b, "r1")}, 0},
		{"One key for two requests is fine", doubleTries, entries{at(1, 0, a, "r1"), at(2, 0, a, "r2")}, 0},
		{"One key twice for one request is not", doubleTries, entries{at(1, 0, a, "r1"), at(2, 0, b, "r1"), at(3, 0, a, "r1")}, 1},
		{"One key three times is two violations", doubleTries, entries{at(1, 0, a, "r1"), at(2, 0, a, "r1"), at(3, 0, a, "r1")}, 2},
		{"A probe is no second try", doubleTries, entries{at(1, 0, a, "r1"), with(at(2, 0, a, "r1"), probe)}, 0},
		{"Requests without an id cannot be told apart", doubleTries, entries{at(1, 0, a, ""), at(2, 0, a, "")}, 0},

		{"Two tries are allowed", threeTries, entries{at(1, 0, a, "r1"), at(2, 0, b, "r1")}, 0},
		{"A third try is not", threeTries, entries{at(1, 0, a, "r1"), at(2, 0, b, "r1"), at(3, 0, "c", "r1")}, 1},

		{"A try after a refusal is fine", TriedAfterContent, entries{with(at(1, 0, a, "r1"), refused), at(2, 0, b, "r1")}, 0},
		{"A try after a complete answer is not", TriedAfterContent, entries{at(1, 0, a, "r1"), at(2, 0, b, "r1")}, 1},
		{"A try after an event is not", TriedAfterContent, entries{with(at(1, 0, a, "r1"), func(e *Entry) { e.Outcome, e.Events = Cut, 1 }), at(2, 0, b, "r1")}, 1},
		{"A try after a cut without an event is fine", TriedAfterContent, entries{with(at(1, 0, a, "r1"), func(e *Entry) { e.Outcome = Cut }), at(2, 0, b, "r1")}, 0},

		{"A use at the very time is fine", usedAfter, entries{at(1, minute, a, "r1")}, 0},
		{"A use of another key later is fine", usedAfter, entries{at(1, minute+1, b, "r1")}, 0},
		{"A use a nanosecond later is not", usedAfter, entries{at(1, minute+1, a, "r1")}, 1},
		{"A probe later is not, unless left out", usedAfter, entries{with(at(1, minute+1, a, ""), probe)}, 1},
		{"A probe later is left out", func(e entries) []string { return usedAfter(Attempts(e)) }, entries{with(at(1, minute+1, a, ""), probe)}, 0},

		{"Uses at both ends are fine", usedBetween, entries{at(1, 0, a, "r1"), at(2, minute, a, "r2")}, 0},
		{"Uses just inside are not", usedBetween, entries{at(1, 1, a, "r1"), at(2, minute-1, a, "r2")}, 2},
		{"Uses of another key inside are fine", usedBetween, entries{at(1, 1, b, "r1")}, 0},

		{"The allowed key is fine", onlyA, entries{at(1, 0, a, "r1")}, 0},
		{"Another key is not, on any path", onlyA, entries{with(at(1, 0, b, "r1"), list)}, 1},
		{"No key is not", onlyA, entries{at(1, 0, "", "r1")}, 1},

		{"Two in a minute are fine", twoAMinute, entries{at(1, 0, a, ""), at(2, 1, a, ""), at(3, minute, a, "")}, 0},
		{"Three within a minute are not", twoAMinute, entries{at(1, 0, a, ""), at(2, 1, a, ""), at(3, minute-1, a, "")}, 1},
		{"Three across a minute's turn are not", twoAMinute, entries{at(1, 59*second, a, ""), at(2, 60*second, a, ""), at(3, 61*second, a, "")}, 1},
		{"Probes count, they cost a request", twoAMinute, entries{at(1, 0, a, ""), at(2, 1, a, ""), with(at(3, 2, a, ""), probe)}, 1},
		{"Model lists and other keys do not count", twoAMinute, entries{at(1, 0, a, ""), at(2, 1, a, ""), with(at(3, 2, a, ""), list), at(4, 2, b, "")}, 0},
		{"Counts of tokens do not count", twoAMinute, entries{at(1, 0, a, ""), at(2, 1, a, ""), with(at(3, 2, a, ""), count)}, 0},
		{"Any API counts", twoAMinute, entries{with(at(1, 0, a, ""), by("/api/chat")), with(at(2, 1, a, ""), by("/v1/messages")), with(at(3, 2, a, ""), by("/api/v1/embeddings"))}, 1},
		{"The order of a file does not matter", twoAMinute, entries{at(3, minute, a, ""), at(1, 0, a, ""), at(2, 1, a, "")}, 0},

		{"One after another is fine", oneAtOnce, entries{at(1, 0, a, ""), at(2, second, a, "")}, 0},
		{"One before the other ends is not", oneAtOnce, entries{at(1, 0, a, ""), at(2, second-1, a, "")}, 1},
		{"One by another API before the other ends is not", oneAtOnce, entries{at(1, 0, a, ""), with(at(2, second-1, a, ""), by("/v1/responses"))}, 1},
		{"One beside another key is fine", oneAtOnce, entries{at(1, 0, a, ""), at(2, 0, b, "")}, 0},
		{"One beside a request that never ended is not", oneAtOnce, entries{with(at(1, 0, a, ""), running), at(2, 24*time.Hour, a, "")}, 1},

		{"No violation is fine", Violations, entries{at(1, 0, a, "")}, 0},
		{"A noticed violation is not", Violations, entries{with(at(1, 0, a, ""), func(e *Entry) { e.Violation = "over 1" })}, 1},

		{"All ended is fine", InFlight, entries{at(1, 0, a, "")}, 0},
		{"One that runs is not", InFlight, entries{with(at(1, 0, a, ""), running)}, 1},

		{"A clean request carries nothing", carried, entries{at(1, 0, a, "")}, 0},
		{"A token in a header is carried", carried, entries{with(at(1, 0, a, ""), func(e *Entry) { e.Headers = http.Header{"X-Odd": {"is sk-pool-x!"}} })}, 1},
		{"A token in the query is carried", carried, entries{with(at(1, 0, a, ""), func(e *Entry) { e.Query = "key=sk-pool-x" })}, 1},
		{"Headers that were not kept prove nothing", carried, entries{with(at(1, 0, a, ""), func(e *Entry) { e.Headers = nil })}, 1},

		{"Other headers are fine", cookie, entries{at(1, 0, a, "")}, 0},
		{"A named header is not", cookie, entries{with(at(1, 0, a, ""), func(e *Entry) { e.Headers = http.Header{"Cookie": {""}} })}, 1},
		{"Headers that were not kept are no proof of absence", cookie, entries{with(at(1, 0, a, ""), func(e *Entry) { e.Headers = nil })}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.sentence, func(t *testing.T) {
			got := tt.judge(tt.entries)
			if len(got) != tt.want {
				t.Errorf("%d violations, want %d: %v", len(got), tt.want, got)
			}
			for _, v := range got {
				if strings.Contains(v, a) || strings.Contains(v, b) {
					t.Errorf("a whole key in %q", v)
				}
			}
		})
	}
}

func TestPerKeyCountsAttemptsOnly(t *testing.T) {
	outcome := func(o string) func(*Entry) { return func(e *Entry) { e.Outcome = o } }
	got := PerKey([]Entry{
		with(at(1, 0, "a", ""), func(e *Entry) { e.PromptTokens, e.CompletionTokens = 3, 4 }),
		with(at(2, 0, "a", ""), refused),
		with(at(3, 0, "a", ""), outcome(Broken)),
		with(at(4, 0, "a", ""), outcome(Cut)),
		with(at(5, 0, "a", ""), outcome(Canceled)),
		with(at(6, 0, "a", ""), running),
		with(at(7, 0, "a", ""), probe),
		with(at(8, 0, "a", ""), list),
		at(9, 0, "b", ""),
	})
	if want := (Count{Total: 6, OK: 1, Refused: 1, Broken: 1, Cut: 1, Canceled: 1, Unfinished: 1, PromptTokens: 3, CompletionTokens: 4}); got["a"] != want {
		t.Errorf("got %+v, want %+v", got["a"], want)
	}
	if len(got) != 2 || got["b"].OK != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestAttemptsAreByAnyAPI(t *testing.T) {
	var entries []Entry
	want := 0
	for path, a := range modelPaths {
		entries = append(entries, with(at(int64(len(entries)+1), 0, "a", ""), by(path)))
		if a.asks == asksPermit {
			want++
		}
	}
	entries = append(entries, with(at(99, 0, "a", ""), by("/api/tags")), with(at(100, 0, "a", ""), by("/v1/models/m")), with(at(101, 0, "a", ""), by("/api/show")))
	if got := len(Attempts(entries)); got != want || want != 9 {
		t.Errorf("%d attempts, want %d", got, want)
	}
}

func TestTailNeverShowsAWholeKey(t *testing.T) {
	for key, want := range map[string]string{
		"": "(none)", "k": "…", "k1": "…1", "key-a": "…-a", "12345678": "…5678", "sk-pretend-good-0001": "…0001", "ééé": "…é",
	} {
		if got := tail(key); got != want {
			t.Errorf("tail(%q) = %q, want %q", key, got, want)
		}
	}
}
