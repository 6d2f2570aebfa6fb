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

// scan looks for the secrets of the test in everything the fleet wrote or answered: files of every data directory, logs at
// level debug, metrics, and what REST answered during the test. The planes are still running.
func (f *fleet) scan(token string) {
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
	secrets := []string{token, adminToken, joinToken}
	for n := range 20 {
		secrets = append(secrets, secret(n))
	}
	scanned := len(f.logs.String())
	for _, v := range findSecrets("an answer", []byte(f.logs.String()), secrets) {
		f.t.Error(v)
	}
	err := filepath.WalkDir(f.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		scanned += len(text)
		for _, v := range findSecrets(strings.TrimPrefix(path, f.dir), text, secrets) {
			f.t.Error(v)
		}
		return nil
	})
	if err != nil {
		f.t.Error(err)
	}
	f.t.Logf("scan: %d secrets in 5 spellings, and windows of 16 characters, in %.1f MB", len(secrets), float64(scanned)/1e6)
}

// findSecrets names the place, never the secret.
func findSecrets(place string, text []byte, secrets []string) []string {
	var found []string
	for _, s := range secrets {
		for name, form := range map[string]string{
			"as it is": s, "in base64": base64.StdEncoding.EncodeToString([]byte(s)), "in hex": hex.EncodeToString([]byte(s)),
			"url-escaped": url.QueryEscape(s), "its middle": s[len(s)/2-8 : len(s)/2+8],
		} {
			if bytes.Contains(text, []byte(form)) {
				found = append(found, place+" holds the secret that ends in "+s[len(s)-4:]+", "+name)
				break
			}
		}
	}
	return found
}

func TestTheScanFindsWhatItShould(t *testing.T) {
	s := secret(1)
	for _, text := range []string{
		"x" + s + "y", base64.StdEncoding.EncodeToString([]byte(s)), hex.EncodeToString([]byte(s)), "…" + s[10:35] + "…",
	} {
		if len(findSecrets("here", []byte(text), []string{secret(0), s})) != 1 {
			t.Errorf("not found in %q", text)
		}
	}
	if found := findSecrets("here", []byte("nothing, and sk-u…0001"), []string{s}); len(found) > 0 {
		t.Errorf("found %v in what people may see", found)
	}
}
