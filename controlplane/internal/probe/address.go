package probe

import "strings"

// join puts a path below a provider's base address. Bases are written with and without their version; one that names it
// keeps it, and Ollama's own API lies beside /v1.
func join(base, path string) string {
	base = strings.TrimRight(base, "/")
	if strings.HasPrefix(path, "/api/") {
		return strings.TrimSuffix(base, "/v1") + path
	}
	if rest, ok := strings.CutPrefix(path, "/v1/"); ok && namesVersion(base) {
		return base + "/" + rest
	}
	return base + path
}

// namesVersion says whether the base's path has a segment like v1 or v1beta.
func namesVersion(base string) bool {
	_, rest, _ := strings.Cut(base, "://")
	_, path, _ := strings.Cut(rest, "/")
	for segment := range strings.SplitSeq(path, "/") {
		if len(segment) >= 2 && segment[0] == 'v' && segment[1]-'0' <= 9 {
			return true
		}
	}
	return false
}
