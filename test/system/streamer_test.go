package system

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// streamer is an upstream whose streams are all different: each event carries the stream's name and its own number. What
// a stream is like is the model's name:
//
//	count  the first event, and after release as many as there are to be, evenly spaced
//	drip   an event every 20 ms, until the client leaves
//	flood  large events as fast as they are taken, until the client leaves
type streamer struct {
	events  int           // of count
	pause   time.Duration // between them
	release chan struct{}

	mu     sync.Mutex // guards what follows
	begun  map[string]int
	left   map[string]time.Time // when it was noticed that a stream's client had left
	served int
}

// stream starts the upstream and adds it as a provider with one key, which bounds nothing.
func (f *fleet) stream(t *testing.T, s *streamer) {
	t.Helper()
	s.release, s.begun, s.left = make(chan struct{}), map[string]int{}, map[string]time.Time{}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	f.webs = append(f.webs, web)
	f.admin("POST", "/admin/providers", fmt.Sprintf(`{"id":"streams","baseUrl":%q,"dialect":"openai","allowPrivateAddresses":true}`, web.URL), nil)
	f.admin("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":%q,"provider":"streams"}`, secret(19)), nil)
}

func (s *streamer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Model, User string }
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, &asked) != nil || r.Header.Get("Authorization") != "Bearer "+secret(19) {
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.begun[asked.User]++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.served++
		if r.Context().Err() != nil {
			s.left[asked.User] = time.Now()
		}
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	out := &numbered{w: w, rc: http.NewResponseController(w), name: asked.User}
	switch asked.Model {
	case "count":
		s.count(r, out)
	case "drip":
		for out.send("") && pass(r, 20*time.Millisecond) {
		}
	case "flood":
		for fill := strings.Repeat("x", 64<<10); out.send(fill); {
		}
	}
}

func (s *streamer) count(r *http.Request, out *numbered) {
	out.send("")
	select {
	case <-s.release:
	case <-r.Context().Done():
		return
	}
	for n := 1; n < s.events; n++ {
		if !pass(r, s.pause) || !out.send("") {
			return
		}
	}
	_, _ = io.WriteString(out.w, `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
}

// pass lets time pass; false if the client left.
func pass(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// numbered is a stream on its way.
type numbered struct {
	w    io.Writer
	rc   *http.ResponseController
	name string
	n    int
}

func (out *numbered) send(fill string) bool {
	out.n++
	_, err := fmt.Fprintf(out.w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"<%s/%d>%s\"},\"finish_reason\":null}]}\n\n",
		out.name, out.n, fill)
	return err == nil && out.rc.Flush() == nil
}

// numberOf answers the stream and the number that an event carries.
func numberOf(event []byte) (name string, n int, ok bool) {
	_, rest, ok := bytes.Cut(event, []byte(`"<`))
	if !ok {
		return "", 0, false
	}
	tag, _, _ := bytes.Cut(rest, []byte(">"))
	name, number, ok := strings.Cut(string(tag), "/")
	if _, err := fmt.Sscan(number, &n); err != nil {
		return "", 0, false
	}
	return name, n, ok
}

// askFor is the body of a request for a stream.
func askFor(model, name string) string {
	return fmt.Sprintf(`{"model":%q,"user":%q,"stream":true,"messages":[]}`, model, name)
}
