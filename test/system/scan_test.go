package system

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// scan looks for the secrets of every test, and for more, in everything the fleet wrote or answered: files of every data
// directory, logs at level debug, metrics, and what REST answered during the test. The planes are still running.
func (f *fleet) scan(more ...string) {
	f.t.Helper()
	for _, page := range []string{
		"/metrics", "/health", "/openapi.json", "/admin/api-keys?pageSize=1000", "/admin/keys/stats?pageSize=1000",
		"/admin/tokens", "/admin/providers", "/admin/nodes", "/admin/stats",
	} {
		f.try("GET", page, "") // kept by the operator
	}
	for id := range f.nodes {
		f.get("http://" + f.port(id+"-ops") + "/metrics")
		f.get("http://" + f.port(id+"-ops") + "/readyz")
		f.get("http://" + f.port(id) + "/health")
	}
	secrets := append([]string{adminToken, joinToken}, more...)
	for n := range 20 {
		secrets = append(secrets, secret(n))
	}
	found, size := f.find(secrets)
	report(f.t, found)
	f.t.Logf("scan: %d secrets in 7 spellings, and windows of 16 characters, in %.1f MB", len(secrets), float64(size)/1e6)
}

// find looks in what was answered and in every file.
func (f *fleet) find(secrets []string) (found []string, size int) {
	f.t.Helper()
	answers := []byte(f.logs.String())
	found, size = findInFiles(f.t, f.dir, secrets)
	return append(found, findSecrets("an answer", answers, secrets)...), size + len(answers)
}

// findInFiles looks in every file of a folder, and says how much it has read.
func findInFiles(t *testing.T, dir string, secrets []string) (found []string, size int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		size += len(text)
		found = append(found, findSecrets(strings.TrimPrefix(path, dir), text, secrets)...)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return found, size
}

// findSecrets names the place, never the secret. A secret has at least 16 characters.
func findSecrets(place string, text []byte, secrets []string) []string {
	var found []string
	for _, s := range secrets {
		for _, form := range spellings(s) {
			if bytes.Contains(text, []byte(form.text)) {
				found = append(found, place+" holds the secret that ends in "+s[len(s)-4:]+", "+form.name)
				break
			}
		}
	}
	return found
}

type spelling struct{ name, text string }

// spellings are the ways in which a secret is looked for. In base64 it looks different after one, two or three others.
func spellings(s string) []spelling {
	forms := []spelling{
		{"as it is", s},
		{"in hex", hex.EncodeToString([]byte(s))},
		{"url-escaped", url.QueryEscape(s)},
		{"its middle", s[len(s)/2-8 : len(s)/2+8]},
	}
	for before, spoiled := range []int{0, 2, 3} { // characters that depend on what comes before
		padded := append(make([]byte, before), s...)
		whole := padded[:len(padded)/3*3]
		forms = append(forms, spelling{"in base64", base64.StdEncoding.EncodeToString(whole)[spoiled:]})
	}
	return forms
}

func TestTheScanFindsWhatItShould(t *testing.T) {
	s := secret(1)
	for _, text := range []string{
		"x" + s + "y", base64.StdEncoding.EncodeToString([]byte(s)), hex.EncodeToString([]byte(s)), "…" + s[10:35] + "…",
		"?line=" + url.QueryEscape("ä/"+s), base64.StdEncoding.EncodeToString([]byte("x" + s + "y")),
		base64.RawURLEncoding.EncodeToString([]byte("xy" + s)), base64.StdEncoding.EncodeToString([]byte("xyz" + s)),
	} {
		if len(findSecrets("here", []byte(text), []string{secret(0), s})) != 1 {
			t.Errorf("not found in %q", text)
		}
	}
	if found := findSecrets("here", []byte("nothing, and sk-u…0001"), []string{s}); len(found) > 0 {
		t.Errorf("found %v in what people may see", found)
	}
}
