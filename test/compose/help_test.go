package compose

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
)

// flagsOf answers the flags of a command with what its help says of each, as the binary itself tells. No binary is built
// twice.
func flagsOf(command string) (map[string]string, error) {
	once, _ := helps.LoadOrStore(command, sync.OnceValues(func() (map[string]string, error) {
		words := strings.Fields(command)
		cmd := exec.Command("go", append(append([]string{"run", "./" + words[0]}, words[1:]...), "--help")...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%s --help: %w: %s", command, err, out)
		}
		if len(words) > 1 && !strings.Contains(string(out), "\n  "+command+" ") {
			return nil, fmt.Errorf("there is no command %s", command)
		}
		known := map[string]string{}
		for _, m := range regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z-]+)(.*)$`).FindAllStringSubmatch(string(out), -1) {
			known[m[1]] = m[1] + m[2]
		}
		return known, nil
	}))
	return once.(func() (map[string]string, error))()
}

var helps sync.Map // command → its flags, once asked
