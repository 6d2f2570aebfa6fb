package compose

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

var numeric = regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`)

func (s service) rights(say func(string, ...any)) {
	if !numeric.MatchString(s.User) {
		say("user %q: a number, and not root's", s.User)
	}
	if !s.ReadOnly {
		say("its root file system is not read_only")
	}
	if !slices.Equal(s.CapDrop, []string{"ALL"}) || s.CapAdd != nil || s.Privileged || s.Network != "" || s.PID != "" {
		say("it has capabilities or namespaces that it does not need")
	}
	if !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
		say("it may gain privileges")
	}
	for _, p := range s.Ports {
		if !strings.HasPrefix(p, "127.0.0.1:") {
			say("port %s is published beyond this machine", p)
		}
	}
}

var pinned = regexp.MustCompile(`^[a-z0-9./-]+:v?\d+\.\d+\.\d+[a-z0-9.-]*(@sha256:[0-9a-f]{64})?$`)

func (s service) image(say func(string, ...any), stages []string) {
	switch {
	case s.Image != "" && !pinned.MatchString(s.Image):
		say("image %s: pin a whole version", s.Image)
	case s.Image == "" && (s.Build.Dockerfile != dockerfile || !slices.Contains(stages, s.Build.Target)):
		say("%s has no stage %q", s.Build.Dockerfile, s.Build.Target)
	}
}

// settings are the flags and the environment: a binary leaves a variable that it does not know unread, so a name that has
// changed would never be noticed.
func (s service) settings(say func(string, ...any)) {
	if s.Build.Target == "" {
		return // not ours
	}
	command := s.Build.Target
	if len(s.Command) > 0 {
		command += " " + s.Command[0]
	}
	known, err := flagsOf(command)
	if err != nil {
		say("%v", err)
		return
	}
	for variable := range s.Environment {
		flag := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(variable, "APIPOOL_")), "_", "-")
		if known[flag] == "" || !strings.HasPrefix(variable, "APIPOOL_") {
			say("%s does not read %s", command, variable)
		}
	}
	for _, word := range s.Command {
		if flag, ok := strings.CutPrefix(word, "--"); ok && known[strings.Split(flag, "=")[0]] == "" {
			say("%s has no flag %s", command, word)
		}
	}
	check := s.Healthcheck.Test
	switch {
	case s.Restart == "no":
	case len(check) != 3 || check[0] != "CMD" || check[1] != "/"+s.Build.Target:
		say("its health is asked by %v", check)
	default:
		if _, err := flagsOf(s.Build.Target + " " + check[2]); err != nil {
			say("%v", err)
		}
	}
}

var defaultDuration = regexp.MustCompile(`default (\w+)`)

// stopping sees to it that no data plane is killed while it drains.
func (s service) stopping(say func(string, ...any)) {
	if s.Build.Target != "dataplane" {
		return
	}
	known, err := flagsOf(s.Build.Target)
	if err != nil {
		return // said already
	}
	drain := s.Environment["APIPOOL_DRAIN_TIMEOUT"]
	if m := defaultDuration.FindStringSubmatch(known["drain-timeout"]); drain == "" && m != nil {
		drain = m[1]
	}
	needs, err1 := time.ParseDuration(drain)
	has, err2 := time.ParseDuration(s.StopGracePeriod)
	if err1 != nil || err2 != nil || has < needs+6*time.Second { // five seconds are for the last counts
		say("it is killed after %q, while its drain takes up to %q and some", s.StopGracePeriod, drain)
	}
}
