package system

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestAScriptMustTellEachOfItsCases(t *testing.T) {
	for _, tt := range []struct {
		out  string
		want int
	}{
		{"ok a\nok b\n", 0},
		{"ok b\nok a", 0},
		{"ok a\n", 1},
		{"", 2},
		{"ok a\nnot ok b\n", 2},
		{"ok a\nok a\nok b\n", 1},
		{"ok a\nok b\nok c\n", 1},
		{"a warning\nok a\nok b\n", 1},
	} {
		if got := faultsOf(tt.out, []string{"a", "b"}); len(got) != tt.want {
			t.Errorf("%q has the faults %q, want %d", tt.out, got, tt.want)
		}
	}
}

// In front of something that is content with everything and answers nothing, hardly a case may hold.
func TestTheClientScriptsFindFault(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	}))
	defer web.Close()
	for _, c := range allClients {
		if c.run != nil {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			needNpm(t, c.needs)
			cmd := exec.CommandContext(t.Context(), "node", c.args...)
			cmd.Dir, cmd.Env = clientsDir, []string{
				"PATH=" + os.Getenv("PATH"), "POOL_CLIENT=x", "POOL_TOKEN=x", "POOL_UPSTREAM=" + web.URL, "POOL_NODES=" + web.URL + " " + web.URL,
			}
			out, err := cmd.Output()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("the script ends with %v", err)
			}
			if faults := faultsOf(string(out), c.cases); len(faults) < 2*len(c.cases) {
				t.Errorf("only these faults were found: %s", strings.Join(faults, "\n"))
			}
		})
	}
}
