package system

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// wire is a bare connection to a node, for what no HTTP client would send.
type wire struct {
	*net.TCPConn
	in *bufio.Reader
}

func dial(address string) (*wire, error) {
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	return &wire{c.(*net.TCPConn), bufio.NewReader(c)}, nil
}

// open connects, or fails the test.
func open(t *testing.T, address string) *wire {
	t.Helper()
	l, err := dial(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func (l *wire) say(text string) error {
	_, err := io.WriteString(l, text)
	return err
}

// answer reads the next answer; status 0: there is none.
func (l *wire) answer(within time.Duration) (status int, body string) {
	_ = l.SetReadDeadline(time.Now().Add(within))
	resp, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

// ended says whether the other side closes within a time.
func (l *wire) ended(within time.Duration) bool {
	_ = l.SetReadDeadline(time.Now().Add(within))
	_, err := io.Copy(io.Discard, l.in)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// post is a whole request as it goes over the wire.
func post(path, token, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: pool\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, token, len(body), body)
}

// honest are clients that do nothing wrong, and are to notice nothing of those who do.
type honest struct {
	client *http.Client
	token  string
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex // guards what follows
	sent  int
	took  []time.Duration
	wrong []string
	proto string // that the last answer came by
}

// protocol answers by which one the honest were served.
func (h *honest) protocol() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.proto
}

// serveHonest has honest clients ask with hardly a pause, in turn whole and streamed, until they are told to end.
func serveHonest(t *testing.T, token string, bases ...string) *honest {
	ctx, stop := context.WithCancel(t.Context())
	h := &honest{token: token, stop: stop, client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true,
	}}}
	for _, base := range bases {
		for range 2 {
			h.wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					h.ask(t.Context(), base, n%2 == 0)
					time.Sleep(2 * time.Millisecond)
				}
			})
		}
	}
	return h
}

func (h *honest) ask(ctx context.Context, base string, stream bool) {
	h.mu.Lock()
	h.sent++
	text := fmt.Sprintf("honest-%d", h.sent)
	h.mu.Unlock()
	start := time.Now()
	wrong := h.exchange(ctx, base, text, stream)
	took := time.Since(start)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.took = append(h.took, took)
	if wrong != "" {
		h.wrong = append(h.wrong, wrong)
	}
}

// exchange answers what is wrong with the answer.
func (h *honest) exchange(ctx context.Context, base, text string, stream bool) string {
	body := fmt.Sprintf(`{"model":%q,"user":%q,"stream":%v,"messages":[{"role":"user","content":%q}]}`, fakellm.DefaultModel, text, stream, text)
	req, err := http.NewRequestWithContext(ctx, "POST", base+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+h.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := h.client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	h.mu.Lock()
	h.proto = resp.Proto
	h.mu.Unlock()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("%d %v %.200s", resp.StatusCode, err, got)
	}
	if said := contentOf(string(got), stream); said != fakellm.Answer(text) {
		return fmt.Sprintf("answered %q", said)
	}
	return ""
}

// contentOf puts an answer's text together, or answers what is missing.
func contentOf(body string, stream bool) string {
	type part struct{ Content string }
	type piece struct {
		Choices []struct{ Message, Delta part }
	}
	if !stream {
		var p piece
		if json.Unmarshal([]byte(body), &p) != nil || len(p.Choices) != 1 {
			return "no JSON"
		}
		return p.Choices[0].Message.Content
	}
	if !strings.HasSuffix(body, "data: [DONE]\n\n") {
		return "no end"
	}
	var text strings.Builder
	for l := range strings.Lines(body) {
		var p piece
		if data, ok := strings.CutPrefix(l, "data: "); ok && json.Unmarshal([]byte(data), &p) == nil && len(p.Choices) == 1 {
			text.WriteString(p.Choices[0].Delta.Content)
		}
	}
	return text.String()
}

// end stops the clients; all of them must have been served.
func (h *honest) end(t *testing.T, during string) {
	t.Helper()
	h.stop()
	h.wg.Wait()
	h.client.CloseIdleConnections()
	if len(h.wrong) > 0 || h.sent == 0 {
		t.Errorf("during %s, %d of %d honest requests went wrong: %.5q", during, len(h.wrong), h.sent, h.wrong)
	}
	median, longest := spread(h.took)
	figure(t, "none", "honest clients during "+during, "%d requests, %d failed, median %v, longest %v", h.sent, len(h.wrong),
		median.Round(time.Microsecond), longest.Round(time.Microsecond))
}
