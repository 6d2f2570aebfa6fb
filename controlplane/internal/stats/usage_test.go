package stats

import "testing"

// What was used is told apart from how often it was: neither is in the other, and nothing of it is a failure. Both are there
// after a restart.
func TestUsageIsNoCount(t *testing.T) {
	f := newFixture(t)
	b := report(1, noon, keys(1), 1)
	k, r := &b.Keys[0].Counts, &b.Tokens[0].Counts
	k[AttemptInputTokens], k[AttemptOutputTokens], k[AttemptEstimatedTokens] = 1000, 200, 30
	r[RequestInputTokens], r[RequestOutputTokens], r[RequestEstimatedTokens], r[RequestFromCache] = 900, 100, 20, 1
	f.Submit(b)
	f.commitNow()
	for _, when := range []string{"committed", "from the log", "from the rows"} {
		p, hours, models := f.Providers()[0], f.Hours("", noon), f.Models("p", 9)
		for name, c := range map[string]AttemptCounts{"key": f.Key(1).Counts, "provider": p.Attempts, "hour": hours[0].Attempts} {
			if c.Total() != 1 || c.Success() != 1 || c.Failure() != 0 || c.Usage() != (Usage{1000, 200, 30}) {
				t.Errorf("%s: %s: got %d, %d, %d, %v", when, name, c.Total(), c.Success(), c.Failure(), c.Usage())
			}
		}
		for name, c := range map[string]RequestCounts{
			"token": f.Token(1).Counts, "provider": p.Requests, "hour": hours[0].Requests, "model": models[0].Requests,
		} {
			if c.Total() != 1 || c.Success() != 0 || c.Failure() != 1 || c.Usage() != (Usage{900, 100, 20}) || c[RequestFromCache] != 1 {
				t.Errorf("%s: %s: got %d, %d, %d, %v", when, name, c.Total(), c.Success(), c.Failure(), c)
			}
		}
		if h := f.KeyHours(1, noon); len(h) != 1 || h[0].Total != 1 {
			t.Errorf("%s: hours of the key: %v", when, h)
		}
		if when == "from the log" {
			f.checkpointNow()
		}
		f.reopen()
	}
}

// The places of counts are in the files of every release: none may move.
func TestCountsStayInTheirPlaces(t *testing.T) {
	for i, want := range []int{
		AttemptOK, AttemptClientError, AttemptRateLimited, AttemptQuota, AttemptAuthError, AttemptServerError, AttemptTimeout,
		AttemptLocalError, AttemptCanceled, AttemptTruncated, AttemptBroken, AttemptForbidden, AttemptFirstByteMsSum,
		AttemptInputTokens, AttemptOutputTokens, AttemptEstimatedTokens, AttemptUnknown, attemptLen,
	} {
		if i != want {
			t.Errorf("the attempts' count %d is at %d", i, want)
		}
	}
	for i, want := range []int{
		RequestOK, RequestClientError, RequestLimited, RequestUnavailable, RequestUpstreamError, RequestTruncated, RequestCanceled,
		RequestInputTokens, RequestOutputTokens, RequestEstimatedTokens, RequestFromCache, RequestUnknown, requestLen,
	} {
		if i != want {
			t.Errorf("the requests' count %d is at %d", i, want)
		}
	}
}
