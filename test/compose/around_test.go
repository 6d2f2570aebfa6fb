package compose

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// stagesOf answers the names of the stages.
func stagesOf(text string) (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^FROM \S+ AS (\S+)`).FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// pinnedGo sees to it that what is built on is known, and that it is the Go of go.mod.
func pinnedGo(say func(string, ...any), all texts) {
	stages := append(stagesOf(all[dockerfile]), "scratch", "${GO_IMAGE}")
	for _, m := range regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(all[dockerfile], -1) {
		if !slices.Contains(stages, m[1]) {
			say("%s begins with %s", dockerfile, m[1])
		}
	}
	image := regexp.MustCompile(`(?m)^ARG GO_IMAGE=(\S+)`).FindStringSubmatch(all[dockerfile])
	wanted := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(all["go.mod"])
	if image == nil || wanted == nil || !pinned.MatchString(image[1]) || !strings.HasPrefix(image[1], "golang:"+wanted[1]+".") {
		say("GO_IMAGE is not a whole version of go.mod's Go")
	}
	if !strings.Contains(all[dockerfile], "\nUSER 65532:65532\n") {
		say("%s runs as root", dockerfile)
	}
}

// watched sees to it that Prometheus asks every plane, where it listens and by a name that it answers to.
func watched(say func(string, ...any), f file, text string) {
	var p struct {
		ScrapeConfigs []struct {
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(text), &p); err != nil {
		say("%v", err)
	}
	var asks, listens []string
	for _, job := range p.ScrapeConfigs {
		for _, group := range job.StaticConfigs {
			asks = append(asks, group.Targets...)
		}
	}
	for name, s := range f.Services {
		env := s.Environment
		for _, at := range []string{env["APIPOOL_ADMIN_LISTEN"], env["APIPOOL_OPS_LISTEN"]} {
			if port, ok := strings.CutPrefix(at, "0.0.0.0:"); ok {
				listens = append(listens, name+":"+port)
			}
		}
		if env["APIPOOL_ADMIN_LISTEN"] != "" && env["APIPOOL_ADMIN_HOSTS"] != name {
			say("%s does not answer to its name", name)
		}
	}
	slices.Sort(asks)
	slices.Sort(listens)
	if !slices.Equal(asks, listens) {
		say("Prometheus asks %v, to be asked are %v", asks, listens)
	}
}
