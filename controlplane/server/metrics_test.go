package server

import (
	"context"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
	"ollama-api-pool/controlplane/internal/store"
)

// What was used is shown by provider and direction, and by nothing that a caller could name.
func TestTokensInTheMetrics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stats.db")
	if err := store.CreateStats(path); err != nil {
		t.Fatal(err)
	}
	file, err := store.OpenStats(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	figures, err := stats.New(file, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	used := stats.RequestCounts{
		stats.RequestOK: 3, stats.RequestInputTokens: 400, stats.RequestOutputTokens: 50, stats.RequestEstimatedTokens: 6, stats.RequestFromCache: 1,
	}
	figures.Submit(stats.Batch{Node: "n", Epoch: 1, Seq: 1, Tokens: []stats.TokenDelta{{Token: 1, Provider: "ollama", Model: "canary", Counts: used}}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // Run commits what was submitted, and ends
	if err := figures.Run(ctx); err != nil {
		t.Fatal(err)
	}
	s := &Server{cfg: Config{Now: time.Now, Version: "v"}, pool: pool.New(pool.Config{Start: time.Now(), Term: 1}), stats: figures}
	w := httptest.NewRecorder()
	s.metrics().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	text := w.Body.String()
	for _, line := range []string{
		`apipool_reported_tokens_total{direction="input",provider="ollama"} 400`,
		`apipool_reported_tokens_total{direction="output",provider="ollama"} 50`,
		`apipool_reported_requests_total{provider="ollama",result="success"} 3`,
		`apipool_reported_requests_total{provider="ollama",result="client"} 0`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("there is no %s in\n%s", line, text)
		}
	}
	if strings.Contains(text, "canary") {
		t.Error("a model's name is in it")
	}
}
