package proxy

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// greet answers what Ollama's clients look for to see whether a server is there.
func (p *Proxy) greet(x *exchange) *problem {
	x.answer("text/plain; charset=utf-8", []byte("Ollama is running"))
	return nil
}

// health tells whether requests can be served, and nothing of what with.
func (p *Proxy) health(x *exchange) *problem {
	status := "ok"
	if p.book.Ready() != nil {
		status = "degraded"
	}
	body, err := json.Marshal(struct {
		Status  string `json:"status"`
		Region  string `json:"region"`
		Version string `json:"version"`
	}{status, p.region, p.version})
	if err != nil { // strings always encode
		panic(err)
	}
	x.w.Header().Set("Cache-Control", "no-store")
	x.answer("application/json", body)
	return nil
}

// answer sends a whole answer of the pool's own.
func (x *exchange) answer(contentType string, body []byte) {
	h := x.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", itoa(len(body)))
	x.commit(http.StatusOK)
	_ = x.put(body) // whoever is gone needs no answer
}

func itoa(n int) string { return strconv.Itoa(n) }
