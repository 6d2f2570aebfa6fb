package system

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// registrar is a client of the registry that notes what it asked, when, and what it was told.
type registrar struct {
	base  string
	http  *http.Client
	begin time.Time
	lie   func(ops []porcupine.Operation) // before they are judged; nil: the truth

	mu  sync.Mutex
	ops []porcupine.Operation
	ids map[string][]string // secret → ids that were seen
}

func newRegistrar(base string) *registrar {
	return &registrar{
		base: base, begin: time.Now(), ids: map[string][]string{},
		http: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
	}
}

// ask asks, and notes it. A call that reached nobody is asked again by nobody and did not happen.
func (r *registrar) ask(client int, in asked) {
	method, path, body := http.MethodPost, "/admin/keys/"+in.what, map[string]any{"apiKey": in.secret}
	switch in.what {
	case "add":
		path = "/admin/api-keys"
	case "delete":
		method, path = http.MethodDelete, "/admin/api-keys"
	case "get":
		method, path, body = http.MethodGet, "/admin/api-keys/"+in.id, nil
	case "disable":
		body["force"] = true
	}
	call := time.Since(r.begin)
	out, reached := r.call(method, path, body, in)
	if !reached {
		time.Sleep(20 * time.Millisecond)
		return
	}
	op := porcupine.Operation{ClientId: client, Input: in, Call: int64(call), Output: out, Return: int64(time.Since(r.begin))}
	if out.unknown {
		op.Return = math.MaxInt64
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
	if in.what == "add" && out.id != "" {
		r.ids[in.secret] = append(r.ids[in.secret], out.id)
	}
}

func (r *registrar) call(method, path string, body map[string]any, in asked) (out told, reached bool) {
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			panic(err) // texts can always be written
		}
		text = strings.NewReader(string(b))
	}
	req, err := http.NewRequest(method, r.base+path, text)
	if err != nil {
		panic(err) // made above
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.http.Do(req)
	if err != nil {
		return told{unknown: true}, !errors.Is(err, syscall.ECONNREFUSED)
	}
	defer resp.Body.Close()
	var got struct {
		APIKey  struct{ ID string }
		Created bool
		Deleted int
		Status  string
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || resp.StatusCode >= 500 {
		return told{unknown: true}, true
	}
	switch in.what {
	case "add":
		return told{found: !got.Created, id: got.APIKey.ID}, true
	case "delete":
		return told{found: got.Deleted == 1}, true
	default:
		return told{found: resp.StatusCode == http.StatusOK, off: in.what == "get" && got.Status == "disabled"}, true
	}
}

// some answers one of the ids that were seen of a key.
func (r *registrar) some(rnd *rand.Rand, secret string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := r.ids[secret]
	if len(ids) == 0 {
		return ""
	}
	return ids[max(0, len(ids)-1-rnd.IntN(2))]
}

// run has ten clients ask at random about these keys, and one of them look at everything in the end.
func (r *registrar) run(seed uint64, secrets []string, each int) {
	var clients sync.WaitGroup
	for n := range 10 {
		rnd := rand.New(rand.NewPCG(seed, uint64(n)))
		clients.Go(func() {
			for range each {
				in := asked{what: []string{"add", "add", "add", "disable", "disable", "enable", "delete", "delete", "get", "get", "get", "get"}[rnd.IntN(12)]}
				in.secret = secrets[rnd.IntN(len(secrets))]
				if in.what == "get" {
					if in.id = r.some(rnd, in.secret); in.id == "" {
						continue
					}
				}
				r.ask(n, in)
				time.Sleep(time.Duration(rnd.IntN(int(20 * time.Millisecond))))
			}
		})
	}
	clients.Wait()
}

func (r *registrar) judge() string {
	for secret, ids := range r.ids {
		for _, id := range ids {
			r.ask(0, asked{"get", secret, id})
		}
	}
	if r.lie != nil {
		r.lie(r.ops)
	}
	return judgeRegistry(r.ops)
}

// Ten clients add, disable, enable, delete and look at keys while the control plane is killed, stopped and frozen: what they
// are told could have been told by one that does one thing after the other and forgets nothing. What nobody confirmed may
// have happened or not. APIPOOL_TEST_SEED repeats a run, APIPOOL_TEST_HISTORIES sets their number.
func TestProcessTheRegistryIsLinearizable(t *testing.T) {
	histories, seed := 5, rand.Uint64N(1<<32)
	if os.Getenv("APIPOOL_TEST_FAULTS") != "" {
		histories = 100
	}
	if n, err := strconv.Atoi(os.Getenv("APIPOOL_TEST_HISTORIES")); err == nil {
		histories = n
	}
	if s, err := strconv.ParseUint(os.Getenv("APIPOOL_TEST_SEED"), 10, 64); err == nil {
		seed = s
	}
	f := processes(t)
	faults := rand.New(rand.NewPCG(seed, 1<<40))
	ops, unknown, bad := 0, 0, 0
	for h := range histories {
		r := newRegistrar(f.base)
		var secrets []string
		for n := range 4 {
			secrets = append(secrets, secret(10_000+4*h+n))
		}
		done := make(chan struct{})
		go func() { defer close(done); r.run(seed+uint64(h), secrets, 30) }()
		time.Sleep(time.Duration(50+faults.IntN(200)) * time.Millisecond)
		switch faults.IntN(4) {
		case 0, 1:
			f.control.kill()
			f.startControl()
		case 2:
			f.control.freeze(t)
			time.Sleep(time.Duration(50+faults.IntN(200)) * time.Millisecond)
			f.control.thaw(t)
		case 3:
			if code := f.control.end(); code != 0 {
				t.Errorf("the control plane ended with code %d", code)
			}
			f.startControl()
		}
		<-done
		if verdict := r.judge(); verdict != "" {
			bad++
			t.Errorf("history %d: %s", h, verdict)
		}
		r.http.CloseIdleConnections()
		ops += len(r.ops)
		for _, op := range r.ops {
			if op.Output.(told).unknown {
				unknown++
			}
		}
	}
	figure(t, seed, "registry", "%d histories, %d operations, %d of them without an answer, %d violations", histories, ops, unknown, bad)
	f.theLiar()
}

// theLiar tells two answers in each other's place, and must be found out.
func (f *fleet) theLiar() {
	f.t.Helper()
	for _, lie := range []bool{false, true} {
		r := newRegistrar(f.base)
		if lie {
			r.lie = func(ops []porcupine.Operation) { ops[1].Output, ops[3].Output = ops[3].Output, ops[1].Output }
		}
		key := secret(9_000)
		r.ask(0, asked{"add", key, ""})
		id := r.ids[key][0]
		r.ask(0, asked{"get", key, id})
		r.ask(0, asked{"delete", key, ""})
		r.ask(0, asked{"get", key, id})
		if verdict := r.judge(); (verdict == "") == lie {
			f.t.Errorf("a client that lies %v: %q", lie, verdict)
		}
		if len(r.ops) != 5 {
			f.t.Errorf("%d operations were noted", len(r.ops))
		}
	}
}
