package system

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// oracle writes to the control plane while it is killed, and remembers what was acknowledged. It lives in the test's process,
// which nobody kills; what it was told is in a file of its own before it asks for anything more.
type oracle struct {
	f    *fleet
	base string // where it writes to
	http *http.Client
	quit atomic.Bool

	mu      sync.Mutex
	cells   map[string]*cell
	log     *os.File
	written int // acknowledged
	open    int // without an answer
}

// cell is one thing whose value is known, up to what was tried since without an answer.
type cell struct {
	acked string
	tried []string
}

func (c *cell) allows(value string) bool { return value == c.acked || slices.Contains(c.tried, value) }

// judgeCells answers what is not as it was acknowledged. What is not seen at all has the value "gone".
func judgeCells(cells map[string]*cell, seen map[string]string) []string {
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(cells)) {
		value, ok := seen[name]
		if !ok {
			value = "gone"
		}
		if c := cells[name]; !c.allows(value) {
			wrong = append(wrong, fmt.Sprintf("%s is %q, was acknowledged as %q, and tried since: %q", name, value, c.acked, c.tried))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		if cells[name] == nil {
			wrong = append(wrong, name+" is there, and nobody made it")
		}
	}
	return wrong
}

func newOracle(f *fleet) *oracle {
	f.t.Helper()
	log, err := os.Create(f.path("acks.txt"))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = log.Close() })
	return &oracle{f: f, base: f.base, http: &http.Client{Timeout: 20 * time.Second}, cells: map[string]*cell{}, log: log}
}

// write asks for a change that gives a cell this value, and notes what came of it. It answers whether it was acknowledged.
func (o *oracle) write(name, value, method, path string, body map[string]any) bool {
	acked := o.call(method, path, body, nil)
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.cells[name]
	if c == nil {
		c = &cell{acked: "gone"}
		o.cells[name] = c
	}
	if !acked {
		c.tried = append(c.tried, value)
		o.open++
		return false
	}
	c.acked, c.tried = value, nil
	o.written++
	if _, err := fmt.Fprintln(o.log, name, value); err != nil {
		o.f.t.Error(err)
	}
	if err := o.log.Sync(); err != nil {
		o.f.t.Error(err)
	}
	return true
}

// call answers whether a call was answered with 200. While the control plane is away there is no answer; any other one is a
// fault.
func (o *oracle) call(method, path string, body map[string]any, into any) bool {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // texts and numbers can always be written
	}
	if body == nil {
		text = nil
	}
	req, err := http.NewRequest(method, o.base+path, bytes.NewReader(text))
	if err != nil {
		panic(err) // made of constants and ids
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := o.http.Do(req)
	if err != nil {
		time.Sleep(20 * time.Millisecond)
		return false
	}
	defer resp.Body.Close()
	if into == nil {
		into = &struct{}{}
	}
	err = json.NewDecoder(resp.Body).Decode(into)
	if resp.StatusCode >= 500 || err != nil {
		return false
	}
	if resp.StatusCode != http.StatusOK {
		o.f.t.Errorf("%s %s: %d", method, path, resp.StatusCode)
		return false
	}
	return true
}

const imported = 10 // keys in one import

// run writes in five ways until it is told to stop: keys one by one, imports, edits, disables, keys that are deleted again.
func (o *oracle) run() {
	var writers sync.WaitGroup
	for _, write := range []func(n int){o.add, o.doImport, o.edit, o.toggle, o.addAndDelete} {
		writers.Go(func() {
			for n := 0; !o.quit.Load(); n++ {
				write(n)
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	writers.Wait()
}

func canary(kind string, n int) string { return fmt.Sprintf("sk-or-canary-%s-%012d", kind, n) }

func (o *oracle) add(n int) {
	name := fmt.Sprint("add-", n)
	o.write(name, "there", "POST", "/admin/api-keys", map[string]any{"apiKey": canary("add", n), "label": name, "provider": "openrouter"})
}

func (o *oracle) doImport(n int) {
	var lines strings.Builder
	for i := range imported {
		fmt.Fprintf(&lines, "imp-%d-%d----%s\n", n, i, canary("imp", n*imported+i))
	}
	o.write(fmt.Sprint("imp-", n), "whole", "POST", "/admin/api-keys/import-from-txt",
		map[string]any{"content": lines.String(), "provider": "openrouter"})
	time.Sleep(40 * time.Millisecond)
}

// edit changes three fields of one of four keys at once, and first looks at what the last edits have left.
func (o *oracle) edit(n int) {
	name := fmt.Sprint("edit-", n%4)
	id := o.own(name)
	if id == "" {
		return
	}
	var k oracleKey
	if !o.call("GET", "/admin/api-keys/"+id, nil, &k) {
		return
	}
	o.mu.Lock()
	c := o.cells[name]
	wrong := c != nil && !c.allows(k.value())
	o.mu.Unlock()
	if wrong {
		o.f.t.Errorf("%s shows %q; acknowledged was %q, tried since %q", name, k.value(), c.acked, c.tried)
	}
	label, weight, priority := edited(name, n)
	o.write(name, fmt.Sprint(n), "PATCH", "/admin/api-keys/"+id, map[string]any{"label": label, "weight": weight, "priority": priority})
}

func edited(name string, n int) (label string, weight, priority int) {
	return fmt.Sprintf("%s:%d", name, n), n%100 + 1, n % 101
}

func (o *oracle) toggle(n int) {
	name := fmt.Sprint("tog-", n%3)
	if o.own(name) == "" {
		return
	}
	body := map[string]any{"apiKey": canary(name, 0)}
	if n/3%2 == 1 {
		o.write(name, "active", "POST", "/admin/keys/enable?wait=0", body)
		return
	}
	body["force"] = true
	o.write(name, "disabled", "POST", "/admin/keys/disable?wait=0", body)
}

func (o *oracle) addAndDelete(n int) {
	name := fmt.Sprint("del-", n)
	body := map[string]any{"apiKey": canary("del", n), "label": name, "provider": "openrouter"}
	if o.write(name, "there", "POST", "/admin/api-keys", body) {
		o.write(name, "gone", "DELETE", "/admin/api-keys?wait=0", map[string]any{"apiKey": canary("del", n)})
	}
}

// own answers the id of a key that the oracle keeps, and adds it if need be; empty: there is no answer now.
func (o *oracle) own(name string) string {
	var made struct{ APIKey oracleKey }
	label, weight, priority := name, 1, 0
	if strings.HasPrefix(name, "edit") {
		label, weight, priority = edited(name, 0)
	}
	// The same key again is no second key, and changes nothing.
	if !o.call("POST", "/admin/api-keys", map[string]any{
		"apiKey": canary(name, 0), "label": label, "weight": weight, "priority": priority, "provider": "openrouter",
	}, &made) {
		return ""
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cells[name] == nil {
		o.cells[name] = &cell{acked: made.APIKey.value()}
	}
	return made.APIKey.ID
}

type oracleKey struct {
	ID, Label, Status string
	Weight, Priority  int
}

// value is what a cell says of a key: of an edited one which edit, if all of it is there.
func (k oracleKey) value() string {
	name, text, isEdit := strings.Cut(k.Label, ":")
	if !isEdit {
		if strings.HasPrefix(k.Label, "tog-") {
			return k.Status
		}
		return "there"
	}
	var n int
	_, _ = fmt.Sscan(text, &n)
	if label, weight, priority := edited(name, n); label != k.Label || weight != k.Weight || priority != k.Priority {
		return fmt.Sprintf("torn: %+v", k)
	}
	return fmt.Sprint(n)
}

// seen answers the value of everything that is there.
func (o *oracle) seen() map[string]string {
	o.f.t.Helper()
	values, parts := map[string]string{}, map[string]int{}
	for token := ""; ; {
		var page struct {
			APIKeys       []oracleKey
			NextPageToken string
		}
		o.f.admin("GET", "/admin/api-keys?provider=openrouter&pageSize=1000&pageToken="+token, "", &page)
		for _, k := range page.APIKeys {
			name, _, _ := strings.Cut(k.Label, ":")
			if rest, ok := strings.CutPrefix(name, "imp-"); ok {
				n, _, _ := strings.Cut(rest, "-")
				parts["imp-"+n]++
				continue
			}
			values[name] = k.value()
		}
		if token = page.NextPageToken; token == "" {
			break
		}
	}
	for name, n := range parts {
		values[name] = "whole"
		if n != imported {
			values[name] = fmt.Sprintf("%d of %d", n, imported)
		}
	}
	return values
}

func TestTheOracleFindsWhatIsNotAsAcknowledged(t *testing.T) {
	there, tried := &cell{acked: "there"}, &cell{acked: "gone", tried: []string{"there"}}
	type cells = map[string]*cell
	type seen = map[string]string
	for _, row := range []struct {
		name  string
		cells cells
		seen  seen
		want  int
	}{
		{"acknowledged and there", cells{"a": there}, seen{"a": "there"}, 0},
		{"acknowledged and lost", cells{"a": there}, seen{}, 1},
		{"without an answer, and there", cells{"a": tried}, seen{"a": "there"}, 0},
		{"without an answer, and not", cells{"a": tried}, seen{}, 0},
		{"deleted, and there", cells{"a": {acked: "gone"}}, seen{"a": "there"}, 1},
		{"half of an import", cells{"i": {acked: "gone", tried: []string{"whole"}}}, seen{"i": "9 of 10"}, 1},
		{"an older edit", cells{"e": {acked: "7"}}, seen{"e": "6"}, 1},
		{"an edit without an answer", cells{"e": {acked: "7", tried: []string{"8"}}}, seen{"e": "8"}, 0},
		{"half of an edit", cells{"e": {acked: "7"}}, seen{"e": oracleKey{Label: "e:7", Weight: 8, Priority: 6}.value()}, 1},
		{"what nobody made", cells{}, seen{"x": "there"}, 1},
	} {
		if wrong := judgeCells(row.cells, row.seen); len(wrong) != row.want {
			t.Errorf("%s: %v", row.name, wrong)
		}
	}
}
