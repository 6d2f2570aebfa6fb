package compose

import (
	"path"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	secretName  = regexp.MustCompile(`(?i)(token|secret|password|passwd|api_?key|credential|kek)[a-z_]*$`)
	secretValue = regexp.MustCompile(`(?i)change.?me|placeholder|password|^(sk|join|ghp|xox[a-z])-|^[A-Za-z0-9+/_-]{20,}=*$`)
	digit       = regexp.MustCompile(`\d`)
)

// credentials answers the values that are, or stand for, one: of a setting that takes a secret itself rather than a file
// with it, or that look drawn at random.
func credentials(text string) (found []string) {
	var top yaml.Node
	if err := yaml.Unmarshal([]byte(text), &top); err != nil {
		return []string{err.Error()}
	}
	var walk func(n *yaml.Node, name string)
	walk = func(n *yaml.Node, name string) {
		if n.Kind == yaml.MappingNode {
			for i := 0; i < len(n.Content); i += 2 {
				walk(n.Content[i+1], n.Content[i].Value)
			}
			return
		}
		for _, below := range n.Content {
			walk(below, name)
		}
		if n.Kind == yaml.ScalarNode && isCredential(name, n.Value) {
			found = append(found, n.Value)
		}
	}
	walk(&top, "")
	return found
}

func isCredential(name, value string) bool {
	if before, after, ok := strings.Cut(value, "="); ok && (strings.HasPrefix(value, "APIPOOL_") || strings.HasPrefix(value, "--")) {
		return isCredential(strings.ReplaceAll(strings.TrimLeft(before, "-"), "-", "_"), after)
	}
	if file, ok := strings.CutSuffix(strings.ToUpper(name), "_FILE"); ok && secretName.MatchString(file) {
		return !path.IsAbs(value) // a folder of the container
	}
	if secretName.MatchString(name) {
		return value != ""
	}
	return secretValue.MatchString(value) && !path.IsAbs(value) &&
		(digit.MatchString(value) || regexp.MustCompile(`(?i)change|placeholder|password`).MatchString(value))
}
