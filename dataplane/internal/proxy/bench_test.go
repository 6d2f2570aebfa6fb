package proxy

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ollama-api-pool/test/bench/bare"
)

// BenchmarkRelay is a request's way through the proxy and back, over real sockets; bare does nothing but forward.
func BenchmarkRelay(b *testing.B) {
	whole := strings.Replace(goodWhole, "hi", strings.Repeat("some words ", 90), 1)
	stream := strings.Repeat(chunk("some words of an answer"), 100) + finish + doneEvent
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if bytes.Contains(body, []byte(`"stream":true`)) {
			w.Header().Set("Content-Type", "text/event-stream")
			for event := range strings.SplitAfterSeq(stream, "\n\n") {
				_, _ = io.WriteString(w, event)
				w.(http.Flusher).Flush()
			}
			return
		}
		sendJSON(w, 200, whole)
	}))
	defer up.Close()
	p := newProxy(Config{}, newFakeBook(up.URL, 3))
	ours := httptest.NewServer(p)
	defer ours.Close()
	forward := httptest.NewServer(bare.Hand(bare.Config{Upstream: up.Listener.Addr().String(), Key: "fixed"}))
	defer forward.Close()
	for _, c := range []struct{ name, url, ask string }{
		{"whole/ours", ours.URL, askWhole},
		{"whole/bare", forward.URL, askWhole},
		{"stream/ours", ours.URL, askStream},
		{"stream/bare", forward.URL, askStream},
	} {
		b.Run(c.name, func(b *testing.B) {
			client := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext, MaxIdleConnsPerHost: 100}}
			defer client.CloseIdleConnections()
			b.ReportAllocs()
			for b.Loop() {
				r, _ := http.NewRequest("POST", c.url+"/v1/chat/completions", strings.NewReader(c.ask))
				r.Header.Set("Authorization", "Bearer "+clientToken)
				resp, err := client.Do(r)
				if err != nil || resp.StatusCode != 200 {
					b.Fatal(err, resp)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
}
