package system

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// What a line holds besides the e-mail address. All passwords of a test hold the same word, and so on, so that one look
// finds every one of them.
const (
	mailPassword = "Tr0ub4dor-Canary-mailbox"
	mailSession  = "eyJ0eXAi.Canary-session.aXQncyBtZQ"
	accountID    = "acct-Canary-9d2f7c31e8"
	accountKey   = "Canary-0a1b2c3d4e5f60718293a4b5"
)

var lineSecrets = []string{mailPassword, mailSession, accountID, accountKey}

// lineKey makes the n-th key that comes in a line.
func lineKey(n int) string { return fmt.Sprintf("ollama-%s-%04d", accountKey, n) }

// line is one line of somebody's ollama.txt, and why it is invalid; empty: it is not.
type line struct{ text, fault string }

// linesFrom answers 10 good lines in every format there is, with the keys from n on, and lines that are malformed in every way.
func linesFrom(n int) []line {
	person := fmt.Sprintf("user%d@example.com----%s-%d----", n, mailPassword, n)
	var lines []line
	for i := range 10 {
		text := []string{
			fmt.Sprintf("user%d@example.com----%s-%d----%s-%d----%s", n+i, mailPassword, i, mailSession, i, lineKey(n+i)),
			fmt.Sprintf("user%d@example.com----%s-%d----%s-%d----%s----%s", n+i, mailPassword, i, mailSession, i, accountID, lineKey(n+i)),
			fmt.Sprintf("user%d----%s", n+i, lineKey(n+i)),
			lineKey(n + i),
			fmt.Sprintf(" user%d@example.com ---- %s %d ----%s---- %s \r", n+i, mailPassword, i, mailSession, lineKey(n+i)),
		}[i%5]
		lines = append(lines, line{text, ""})
	}
	key := lineKey(n + 99)
	return append(lines, []line{
		{person + mailSession, "wrong_fields"},
		{person + mailSession + "----" + accountID + "----x----" + key, "wrong_fields"},
		{person + mailSession + "----", "no_key"},
		{"user----", "no_key"},
		{person + mailSession + "----short", "bad_key"},
		{person + mailSession + "----" + key + " " + key, "bad_key"},
		{key + "," + key + " " + key, "bad_key"},
		{person + mailSession + "----" + key + "-ключ", "bad_key"},
		{person + mailSession + "----" + strings.Repeat(key, 20), "bad_key"},
		{"ann\x01" + mailPassword + "----" + key, "bad_label"},
		{"ann\u202e" + mailPassword + "----" + key, "bad_label"},
		{strings.Repeat(mailPassword+" ", 10) + "----" + key, "bad_label"},
		{key + "----user@example.com----" + mailPassword + "----" + mailSession, "looks_swapped"},
		{key + "----user@example.com", "looks_swapped"},
		{key + "----" + mailPassword, "looks_swapped"},
		{"user----" + mailPassword + "----" + mailSession + "----" + key, "looks_swapped"}, // no address, so who knows the order
	}...)
}

func textOf(lines []line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.text + "\n")
	}
	return b.String()
}

// job is what an import or a check answers.
type job struct {
	State   string
	Counts  map[string]int
	Results []struct {
		Line                   int
		Display, ID            string
		Result, Reason, Before string
	}
}

// wantLines holds a job's results against the lines: each has one, and a bad one says why.
func wantLines(t *testing.T, how string, j job, lines []line, good func(n int) string) {
	t.Helper()
	if len(j.Results) != len(lines) {
		t.Fatalf("%s: %d lines and %d results", how, len(lines), len(j.Results))
	}
	for n, r := range j.Results {
		want := "invalid " + lines[n].fault
		if lines[n].fault == "" {
			want = good(n)
		}
		if got := r.Result + " " + r.Reason; r.Line != n+1 || got != want {
			t.Errorf("%s: line %d is said to be line %d and %s, want %s", how, n+1, r.Line, got, want)
		}
		if lines[n].fault != "" && r.Display+r.ID != "" {
			t.Errorf("%s: of the bad line %d something is shown: %q", how, n+1, r.Display+r.ID)
		}
	}
}

// Of a line only the e-mail address or user name and the key are kept, whichever way the line comes in, whatever is wrong
// with it, and if the process is killed in the middle; the key is never shown.
func TestProcessImportsKeepNoPasswords(t *testing.T) {
	f := processes(t, "eu-1@eu-west")
	added := func(int) string { return "added " }
	const path = "/admin/api-keys/"

	var j job
	lines := linesFrom(100)
	for _, dry := range []bool{true, false} {
		f.admin("POST", path+"import-from-txt", fmt.Sprintf(`{"content":%s,"dryRun":%v}`, quoted(textOf(lines)), dry), &j)
		wantLines(t, fmt.Sprint("text, dry run ", dry), j, lines, added)
	}

	lines = linesFrom(200)
	for n := range 5 {
		f.behave(lineKey(200+n), fakellm.Behaviour{})
	}
	asked := func(n int) string {
		if n < 5 {
			return "added "
		}
		return "failed auth_rejected"
	}
	for _, dry := range []bool{true, false} {
		f.admin("POST", path+"import-with-validation", fmt.Sprintf(`{"content":%s,"dryRun":%v}`, quoted(textOf(lines)), dry), &j)
		wantLines(t, fmt.Sprint("validated, dry run ", dry), j, lines, asked)
	}

	// A list holds keys and nothing else; a line in it is a bad key.
	f.admin("POST", path+"import", fmt.Sprintf(`{"keys":[%s,%s]}`, quoted(lineKey(300)), quoted(lines[0].text)), &j)
	if j.Counts["added"] != 1 || j.Counts["invalid"] != 1 {
		t.Errorf("a list: %v", j.Counts)
	}

	// Lines that come in places where they do not belong.
	whole := lines[0].text
	for _, r := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", path + "import-from-txt", textOf(lines), 400},
		{"POST", path + "import-from-txt", `{"content":[` + quoted(whole) + `]}`, 400},
		{"POST", path + "import-from-txt", `{` + quoted(whole) + `:1}`, 400},
		{"POST", path + "import", `{"keys":` + quoted(whole) + `}`, 400},
		{"POST", path + "import-with-validation?content=" + url.QueryEscape(whole), ``, 400},
		{"POST", path + "import-with-validation?" + url.QueryEscape(whole) + "=1", ``, 400},
		{"POST", "/admin/api-keys", `{"apiKey":` + quoted(whole) + `}`, 400},
		{"POST", "/admin/verify-key", `{"apiKey":` + quoted(whole) + `}`, 400},
		{"POST", "/admin/verify-key", `{"apiKey":` + quoted(whole+" ") + `}`, 400},
		{"POST", "/admin/keys/health-check", `{"ids":[` + quoted(whole) + `]}`, 404},
		{"POST", "/admin/keys/health-check", `{"status":` + quoted(whole) + `}`, 400},
		{"GET", path + url.PathEscape(whole), ``, 404},
		{"GET", "/admin/" + url.PathEscape(whole), ``, 404},
	} {
		if got := f.try(r.method, r.path, r.body); got.status != r.status {
			t.Errorf("%s %.40s: %v, want %d", r.method, r.path, got, r.status)
		}
	}
	f.admin("POST", "/admin/verify-key", `{"apiKey":`+quoted(lineKey(200))+`}`, nil)
	f.admin("POST", "/admin/verify-key", `{"apiKey":`+quoted(lineKey(9000))+`}`, nil)
	f.admin("POST", "/admin/keys/health-check", `{}`, &j)
	if j.Counts["valid"] != 5 || j.Counts["rejected"] != 11 {
		t.Errorf("health check: %v", j.Counts)
	}

	// The command line, whose input is its user's own and whose output is not.
	for _, row := range []struct {
		n     int
		input string
		args  []string
		code  int
	}{
		{1, textOf(linesFrom(400)), nil, 3},
		{1, textOf(linesFrom(400)), []string{"--dry-run", "-o", "json"}, 3},
		{1, textOf(linesFrom(500)), []string{"--validate"}, 3},
		{1, whole + "\n" + strings.Repeat(mailPassword, 3000) + "\n", nil, 1}, // a line without end
		{1, "", []string{whole}, 2},
	} {
		if got := f.cli(row.input, append([]string{"keys", "import", "-"}, row.args...)...); got != row.code {
			t.Errorf("keys import %.30q: exit %d, want %d", row.args, got, row.code)
		}
	}

	f.killedInTheMiddle()

	for _, e := range f.upstream.Ledger() { // nor does the upstream get to see any of it
		if asked := fmt.Sprint(e.Key, e.Path, e.Query, e.Headers); strings.Contains(asked, mailPassword) || strings.Contains(asked, mailSession) {
			t.Errorf("request %d to the upstream, at %s, holds more of a line than the key", e.Seq, e.Path)
		}
	}
	f.scan(lineSecrets...)
	if got := f.try("GET", "/admin/api-keys?search=user100@example.com", ""); !strings.Contains(got.body, `"label":"user100@example.com"`) {
		t.Errorf("the e-mail address is not the label: %v", got)
	}
	if text, err := os.ReadFile(f.path("cli.log")); err != nil || !strings.Contains(string(text), "looks_swapped") {
		t.Errorf("the output of the command line is not there to be scanned: %v", err)
	}

	// And would it have found a password that was left in a line?
	planted := "line 3: " + linesFrom(100)[1].text + ": wrong_fields"
	if err := os.WriteFile(f.path("planted.log"), []byte(planted), 0o600); err != nil {
		t.Fatal(err)
	}
	if found, _ := f.find(lineSecrets); len(found) != len(lineSecrets) {
		t.Errorf("of %d secrets of a line in a log the scan finds %q", len(lineSecrets), found)
	}
}

// killedInTheMiddle kills the control plane while an import waits for an upstream that does not answer. What had been found
// good is there after it, and the same import again does only the rest.
func (f *fleet) killedInTheMiddle() {
	t := f.t
	t.Helper()
	const first, good, hanging = 600, 40, 20
	var lines []line
	for n := range good + hanging {
		b := fakellm.Behaviour{Hang: n >= good}
		f.behave(lineKey(first+n), b)
		lines = append(lines, line{fmt.Sprintf("user%d@example.com----%s----%s----%s", first+n, mailPassword, mailSession, lineKey(first+n)), ""})
	}
	body := fmt.Sprintf(`{"content":%s}`, quoted(textOf(lines)))
	before := f.total()
	answered := make(chan answer, 1)
	go func() { answered <- f.try("POST", "/admin/api-keys/import-with-validation", body) }()
	for wait := 0; f.total() < before+good; wait++ {
		if wait > 600 {
			t.Fatal("the good keys of the import do not get in")
		}
		time.Sleep(50 * time.Millisecond)
	}
	asking := fakellm.InFlight(f.upstream.Ledger())
	f.control.kill()
	if got := <-answered; got.err == nil || len(asking) == 0 {
		t.Errorf("the import was over, or had nothing left to ask: the test proves nothing: %v", got)
	}
	f.startControl()
	if got := f.total(); got != before+good {
		t.Errorf("after the kill there are %d keys, want %d and the %d that were found good", got, before, good)
	}
	for n := range hanging {
		f.behave(lineKey(first+good+n), fakellm.Behaviour{})
	}
	var j job
	f.admin("POST", "/admin/api-keys/import-with-validation", body, &j)
	if j.Counts["duplicate"] != good || j.Counts["added"] != hanging {
		t.Errorf("the same import again: %v", j.Counts)
	}
}

func (f *fleet) total() int {
	f.t.Helper()
	var list struct{ Total int }
	f.admin("GET", "/admin/api-keys?pageSize=1", "", &list)
	return list.Total
}

// cli runs an operator's command as a process and answers its exit code. What it prints is kept for the scan.
func (f *fleet) cli(input string, args ...string) int {
	f.t.Helper()
	dir, err := binaries()
	if err != nil {
		f.t.Fatal(err)
	}
	log, err := os.OpenFile(f.path("cli.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.CommandContext(f.t.Context(), filepath.Join(dir, "controlplane"), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), log, log
	cmd.Env = append(os.Environ(), "APIPOOL_ADDR="+f.base, "APIPOOL_ADMIN_TOKEN="+adminToken)
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return 0
}
