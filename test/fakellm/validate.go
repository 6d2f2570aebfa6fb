package fakellm

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
)

// Validate reports the first thing that no key could do, by the field's JSON name.
func (b Behaviour) Validate() error {
	for _, rule := range b.rules() {
		if rule.broken {
			return fmt.Errorf("%s: %s", rule.field, rule.why)
		}
	}
	if ways := b.misdeeds(); len(ways) > 1 {
		return fmt.Errorf("%s and %s: a key misbehaves in one way at a time", ways[0], ways[1])
	}
	if err := validHeader(b.Header); err != nil {
		return err
	}
	for i, step := range b.Script {
		if err := step.validateStep(); err != nil {
			return fmt.Errorf("script[%d].%w", i, err)
		}
	}
	return nil
}

type rule struct {
	field  string
	broken bool
	why    string
}

func (b Behaviour) rules() []rule {
	beyond := func(n int) bool { return n < 0 || n > maxChunks }
	_, readable := parseRetryAfter(b.RetryAfter)
	serves := !b.refuses() && !b.Hang && !b.Reset && !b.HTML && !b.EmptyStream
	return []rule{
		{"status", b.Status != 0 && b.Status != 200 && (b.Status < 300 || b.Status > 599), "must be 0, 200 or 300 to 599"},
		{"retry_after", b.RetryAfter != "" && !b.refuses() && !b.errsInBand(), "needs a refusal or an in-band error"},
		{"retry_after", strings.ContainsAny(b.RetryAfter, "\r\n\x00"), "has a character that no header can carry"},
		{"reset_in", b.ResetIn < 0, "must not be negative"},
		{"reset_in", b.ResetIn > 0 && !b.refuses(), "needs a status of 300 or more"},
		{"body", b.Body != "" && (b.Hang || b.Reset || b.EmptyStream || b.TruncateAfter > 0 || b.EndEarlyAfter > 0), "this behaviour sends no body of its own"},
		{"delay", b.Delay < 0, "must not be negative"},
		{"error_after", beyond(b.ErrorAfter), "must be 0 to 100000"},
		{"error_code", b.ErrorCode != 0 && (b.ErrorCode < 400 || b.ErrorCode > 599), "must be 0 or 400 to 599"},
		{"error_code", b.ErrorCode != 0 && !b.errsInBand(), "needs first_event_error or error_after"},
		{"truncate_after", beyond(b.TruncateAfter), "must be 0 to 100000"},
		{"end_early_after", beyond(b.EndEarlyAfter), "must be 0 to 100000"},
		{"comments", beyond(b.Comments), "must be 0 to 100000"},
		{"comments", b.Comments > 0 && !serves && !b.EmptyStream, "needs a stream"},
		{"chunks", beyond(b.Chunks), "must be 0 to 100000"},
		{"chunks", b.Chunks > 0 && !serves, "needs a stream"},
		{"chunks", b.Chunks > 0 && b.Body != "" && !b.errsInBand(), "body replaces the stream"},
		{"chunk_interval", b.ChunkInterval < 0, "must not be negative"},
		{"times", b.Times < 0, "must not be negative"},
		{"cool_until_retry_after", b.CoolUntilRetryAfter && !b.refuses(), "needs a status of 300 or more"},
		{"cool_until_retry_after", b.CoolUntilRetryAfter && !readable && (b.RetryAfter != "" || b.ResetIn == 0), "needs reset_in, or a retry_after of 0 to 1e9 seconds or an HTTP date"},
		{"cool_until_retry_after", b.CoolUntilRetryAfter && b.Times > 0, "already says when it ends; leave out times"},
		{"limits.requests_per_minute", b.Limits.RequestsPerMinute < 0, "must not be negative"},
		{"limits.max_concurrent", b.Limits.MaxConcurrent < 0, "must not be negative"},
		{"script", len(b.Script) > 0 && !b.onlyScriptAndLimits(), "stands alone beside limits"},
	}
}

func (b Behaviour) misdeeds() []string {
	var ways []string
	for _, w := range []struct {
		field string
		set   bool
	}{
		{"status", b.refuses()},
		{"hang", b.Hang},
		{"reset", b.Reset},
		{"first_event_error", b.FirstEventError},
		{"error_after", b.ErrorAfter > 0},
		{"truncate_after", b.TruncateAfter > 0},
		{"end_early_after", b.EndEarlyAfter > 0},
		{"html", b.HTML},
		{"empty_stream", b.EmptyStream},
	} {
		if w.set {
			ways = append(ways, w.field)
		}
	}
	return ways
}

func (b Behaviour) onlyScriptAndLimits() bool {
	b.Script, b.Limits, b.Account = nil, Limits{}, ""
	return reflect.ValueOf(b).IsZero()
}

func (b Behaviour) validateStep() error {
	switch {
	case len(b.Script) > 0:
		return fmt.Errorf("script: a step has no script of its own")
	case b.Times != 0:
		return fmt.Errorf("times: a step is for one request")
	case b.CoolUntilRetryAfter:
		return fmt.Errorf("cool_until_retry_after: a step is for one request")
	case b.Limits != Limits{}:
		return fmt.Errorf("limits: belong to the key, not to a step")
	case b.Account != "":
		return fmt.Errorf("account: belongs to the key, not to a step")
	}
	return b.Validate()
}

func validHeader(h map[string]string) error {
	for name, value := range h {
		if name == "" || strings.ContainsFunc(name, notInHeaderName) {
			return fmt.Errorf("headers: %q is no header name", name)
		}
		if strings.ContainsAny(value, "\r\n\x00") {
			return fmt.Errorf("headers: the value of %s has a character that no header can carry", name)
		}
		switch http.CanonicalHeaderKey(name) {
		case "Content-Length", "Transfer-Encoding":
			// The server frames the answer itself; a lie here would break its own writes.
			return fmt.Errorf("headers: %s is set by the server", name)
		}
	}
	return nil
}

func notInHeaderName(r rune) bool {
	letterOrDigit := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	return !letterOrDigit && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
