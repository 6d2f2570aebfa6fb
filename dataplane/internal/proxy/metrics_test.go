package proxy

import (
	"net/http"
	"strings"
	"testing"
)

// metric answers a counter or gauge whose labels, written a=b,c=d, are these; -1: there is none.
func (b *bench) metric(name, labels string) float64 {
	b.t.Helper()
	families, err := b.registry.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var said []string
			for _, l := range m.GetLabel() {
				said = append(said, l.GetName()+"="+l.GetValue())
			}
			if strings.Join(said, ",") == labels {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return -1
}

func TestMetricsAndLog(t *testing.T) {
	b := newBench(t, 2, func(w http.ResponseWriter, r *http.Request) {
		if keyOf(r) == "a" {
			sendJSON(w, 429, `{}`)
			return
		}
		sendStream(w, goodStream)
	})
	b.chat(askStream)
	b.do(b.request("POST", "/nobody/v1/chat/completions", askWhole))
	b.do(b.request("POST", "/v1/chat/completions", `{"model":"`+clientToken+`\n\u0007`+strings.Repeat("x", 300)+`","stream":3}`))
	b.chat(askStream, "Authorization", "Bearer sk-wrong-0123456789abcdef")
	for _, row := range []struct {
		name, labels string
		want         float64
	}{
		{"apipool_requests_total", "outcome=ok,provider=ollama", 1},
		{"apipool_requests_total", "outcome=client_error,provider=none", 1},
		{"apipool_requests_total", "outcome=client_error,provider=ollama", 1},
		{"apipool_requests_total", "outcome=unauthorized,provider=none", 1},
		{"apipool_upstream_attempts_total", "outcome=rate_limited,provider=ollama", 1},
		{"apipool_upstream_attempts_total", "outcome=ok,provider=ollama", 1},
		{"apipool_request_duration_seconds", "provider=ollama", 2},
		{"apipool_time_to_first_token_seconds", "provider=ollama", 1},
		{"apipool_in_flight", "", 0},
	} {
		if got := b.metric(row.name, row.labels); got != row.want {
			t.Errorf("%s{%s}: got %v, want %v", row.name, row.labels, got, row.want)
		}
	}
	lines := strings.Split(strings.TrimSpace(b.log.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	for _, part := range []string{"level=DEBUG", `msg="request served"`, "request_id=req_", "provider=ollama", "model=m", "status=200", "outcome=ok", "attempts=2", "key_id=k_", "duration_ms="} {
		if !strings.Contains(lines[0], part) {
			t.Errorf("%q lacks %s", lines[0], part)
		}
	}
	if !strings.Contains(lines[2], "level=INFO") || len(lines[2]) > 400 {
		t.Errorf("%q", lines[2])
	}
}
