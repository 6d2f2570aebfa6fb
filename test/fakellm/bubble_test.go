package fakellm

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// served are the entries that were let through.
func served(entries []Entry) []Entry {
	var kept []Entry
	for _, e := range entries {
		if e.Outcome != Refused {
			kept = append(kept, e)
		}
	}
	return kept
}

func call(ctx context.Context, up *Upstream, id string) *httptest.ResponseRecorder {
	return callWith(ctx, up, goodKey, id)
}

func callWith(ctx context.Context, up *Upstream, key, id string) *httptest.ResponseRecorder {
	body := fmt.Sprintf(`{"model":%q,"user":%q,"messages":[{"role":"user","content":"hi"}]}`, DefaultModel, id)
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+key)
	w := httptest.NewRecorder()
	up.ServeHTTP(w, req)
	return w
}

func TestAnHourOfSlidingWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perMinute = 7
		up := New(Config{})
		if err := up.SetKey(goodKey, Behaviour{Limits: Limits{RequestsPerMinute: perMinute}}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		ok, refused := 0, 0
		for i := 0; time.Since(begin) < time.Hour; i++ {
			// An uneven gait, faster than the limit, never in step with the minute.
			time.Sleep(time.Duration(1+i*i%9) * 977 * time.Millisecond)
			w := call(t.Context(), up, strconv.Itoa(i))
			if w.Code == http.StatusOK {
				ok++
				continue
			}
			refused++
			wait, err := strconv.Atoi(w.Header().Get("Retry-After"))
			if w.Code != http.StatusTooManyRequests || err != nil || wait < 1 || wait > 60 {
				t.Fatalf("got %d with Retry-After %q", w.Code, w.Header().Get("Retry-After"))
			}
			if i%5 != 0 {
				continue
			}
			time.Sleep(time.Duration(wait) * time.Second)
			if w := call(t.Context(), up, "told"); w.Code != http.StatusOK {
				t.Fatalf("waited %d s as told and got %d", wait, w.Code)
			}
			ok++
		}
		entries := up.Ledger()
		if v := OverRate(served(entries), goodKey, perMinute); v != nil {
			t.Errorf("the provider let too many through: %v", v)
		}
		if v := OverRate(served(entries), goodKey, perMinute-1); v == nil {
			t.Error("the window was never full: the test proves nothing")
		}
		if got := len(Violations(entries)); got != refused || refused == 0 {
			t.Errorf("%d violations noticed, %d requests refused", got, refused)
		}
		if got := PerKey(entries)[goodKey]; got.OK != ok || got.Refused != refused {
			t.Errorf("the ledger counts %+v, the client %d and %d", got, ok, refused)
		}
		t.Logf("%d served, %d refused in an hour", ok, refused)
	})
}

func TestTheWindowSlidesToTheNanosecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := New(Config{})
		if err := up.SetKey(goodKey, Behaviour{Limits: Limits{RequestsPerMinute: 1}}); err != nil {
			t.Fatal(err)
		}
		for i, step := range []struct {
			wait time.Duration
			want int
		}{{0, 200}, {time.Minute - 1, 429}, {1, 200}, {time.Minute, 200}, {time.Second, 429}} {
			time.Sleep(step.wait)
			if got := call(t.Context(), up, "").Code; got != step.want {
				t.Errorf("step %d: %d, want %d", i, got, step.want)
			}
		}
	})
}

func TestALoweredLimitCountsThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := New(Config{})
		set := func(n int) {
			if err := up.SetKey(goodKey, Behaviour{Limits: Limits{RequestsPerMinute: n}}); err != nil {
				t.Fatal(err)
			}
		}
		set(0)
		for range 4 { // at 0, 10, 20 and 30 s
			call(t.Context(), up, "")
			time.Sleep(10 * time.Second)
		}
		set(2)
		w := call(t.Context(), up, "") // at 40 s; three must leave, the third at 80 s
		if got := w.Header().Get("Retry-After"); w.Code != 429 || got != "40" {
			t.Errorf("got %d, Retry-After %q", w.Code, got)
		}
	})
}

func TestTheKeysOfAnAccountAreCountedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, row := range []struct {
			name  string
			b     Behaviour
			first int // of the account's first request
			after int // when the minute is over
		}{
			{"limits", Behaviour{Limits: Limits{RequestsPerMinute: 1}}, 200, 200},
			{"a cool-down", Behaviour{Status: 429, RetryAfter: "60", CoolUntilRetryAfter: true}, 429, 200},
		} {
			up := New(Config{})
			ask := func(key string) int { return callWith(t.Context(), up, key, "x").Code }
			for key, account := range map[string]string{"sk-one": "a", "sk-two": "a", "sk-alone": ""} {
				b := row.b
				b.Account = account
				if err := up.SetKey(key, b); err != nil {
					t.Fatal(err)
				}
			}
			if got := ask("sk-one"); got != row.first {
				t.Errorf("%s: the first is answered %d", row.name, got)
			}
			time.Sleep(30 * time.Second)
			if got := ask("sk-two"); got != 429 {
				t.Errorf("%s: the sibling is answered %d", row.name, got)
			}
			if got := ask("sk-alone"); got != row.first {
				t.Errorf("%s: another key is answered %d", row.name, got)
			}
			time.Sleep(30 * time.Second)
			if got := ask("sk-two"); got != row.after {
				t.Errorf("%s: after the minute the sibling is answered %d", row.name, got)
			}
		}
	})
}

func TestCoolingEndsWhenItWasTold(t *testing.T) {
	date := time.Date(2000, 1, 1, 0, 0, 30, 0, time.UTC).Format(http.TimeFormat)
	for _, tt := range []struct {
		sentence        string
		b               Behaviour
		header          string
		atFirst, at20_5 string
	}{
		{"Seconds count down", Behaviour{RetryAfter: "30"}, "Retry-After", "30", "10"},
		{"Fractions count down", Behaviour{RetryAfter: "30.0"}, "Retry-After", "30.0", "9.5"},
		{"A date stays", Behaviour{RetryAfter: date}, "Retry-After", date, date},
		{"A reset counts down", Behaviour{ResetIn: 30 * time.Second}, "X-Ratelimit-Reset-Requests", "30s", "9.5s"},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				up := New(Config{Dialect: OpenAI})
				tt.b.Status, tt.b.CoolUntilRetryAfter = 429, true
				if err := up.SetKey(goodKey, tt.b); err != nil {
					t.Fatal(err)
				}
				for _, step := range []struct {
					wait time.Duration
					code int
					told string
				}{
					{0, 429, tt.atFirst},
					{20*time.Second + 500*time.Millisecond, 429, tt.at20_5},
					{9500*time.Millisecond - 1, 429, ""},
					{1, 200, ""},
					{time.Hour, 200, ""},
				} {
					time.Sleep(step.wait)
					w := call(t.Context(), up, "")
					if w.Code != step.code {
						t.Errorf("after %v more: %d, want %d", step.wait, w.Code, step.code)
					}
					if got := w.Header().Get(tt.header); step.told != "" && got != step.told {
						t.Errorf("after %v more: told %q, want %q", step.wait, got, step.told)
					}
				}
				start := up.Ledger()[0].Start
				if v := UsedBetween(up.Ledger(), goodKey, start, start.Add(30*time.Second)); len(v) != 2 {
					t.Errorf("two uses were too early, the judge found %v", v)
				}
			})
		})
	}
}

func TestConcurrencyOverPipes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newPipeRig(t, Config{})
		defer stop()
		err := r.up.SetKey(goodKey, Behaviour{Chunks: 2, ChunkInterval: time.Second, Limits: Limits{MaxConcurrent: 2}})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		statuses := make([]int, 3)
		begin := time.Now()
		for i := range statuses {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				statuses[i] = r.chat(goodKey, askSSE).status
			})
		}
		wg.Wait()
		// Four events and [DONE], a second between any two.
		if took := time.Since(begin); took != 4*time.Second+time.Millisecond {
			t.Errorf("the streams took %v", took)
		}
		if fmt.Sprint(statuses) != "[200 200 429]" {
			t.Errorf("statuses %v", statuses)
		}
		if got := r.chat(goodKey, askSSE).status; got != 200 {
			t.Errorf("the permits did not come back: %d", got)
		}
		if v := OverConcurrency(served(r.up.Ledger()), goodKey, 2); v != nil {
			t.Error(v)
		}
		if v := OverConcurrency(r.up.Ledger(), goodKey, 2); len(v) != 1 {
			t.Errorf("the third request was one too many, the judge found %v", v)
		}
	})
}

func TestWhoWaitsIsLeftAlone(t *testing.T) {
	for _, tt := range []struct {
		sentence string
		b        Behaviour
		body     string
	}{
		{"A hang lasts until the client leaves", Behaviour{Hang: true}, ask},
		{"A delay ends when the client leaves", Behaviour{Delay: time.Hour}, ask},
		{"A slow stream ends when the client leaves", Behaviour{ChunkInterval: time.Hour}, askSSE},
		{"Slow comments end when the client leaves", Behaviour{Comments: 9, ChunkInterval: time.Hour}, askSSE},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, stop := newPipeRig(t, Config{})
				defer stop()
				tt.b.Limits.MaxConcurrent = 1
				if err := r.up.SetKey(goodKey, tt.b); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
				defer cancel()
				req, _ := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/v1/chat/completions", strings.NewReader(tt.body))
				req.Header.Set("Authorization", "Bearer "+goodKey)
				if resp, err := r.client.Do(req); err == nil {
					<-ctx.Done()
					resp.Body.Close()
				}
				synctest.Wait()
				e := r.last()
				if e.Outcome != Canceled || e.End.Sub(e.Start) != 90*time.Second {
					t.Errorf("%s after %v, want canceled after 1m30s", e.Outcome, e.End.Sub(e.Start))
				}
				if err := r.up.SetKey(goodKey, Behaviour{Limits: Limits{MaxConcurrent: 1}}); err != nil {
					t.Fatal(err)
				}
				if got := r.chat(goodKey, ask).status; got != 200 {
					t.Errorf("the permit did not come back: %d", got)
				}
			})
		})
	}
	t.Run("A recorder is not made to panic", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			up := New(Config{})
			if err := up.SetKey(goodKey, Behaviour{Hang: true}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			call(ctx, up, "r1")
			if got := up.Ledger()[0].Outcome; got != Canceled {
				t.Errorf("outcome %q", got)
			}
		})
	})
}
