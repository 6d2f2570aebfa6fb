package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ollama-api-pool/test/fakellm"
)

func (term *terminal) behave(key string, b fakellm.Behaviour) {
	term.t.Helper()
	if err := term.upstream.SetKey(key, b); err != nil {
		term.t.Fatal(err)
	}
}

func TestKeysImport(t *testing.T) {
	term := start(t)
	var text strings.Builder
	for n := range 6000 { // more than one call takes
		if n%1000 == 0 {
			text.WriteString("\n")
		}
		fmt.Fprintf(&text, "u%d@example.com----pw-canary----session-canary----%s%06d\n", n, secret, n)
	}
	text.WriteString("three----fields-canary----here\n" + secret + "000000\n")
	file := filepath.Join(t.TempDir(), "ollama.txt")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs := term.want(3, "keys", "import", file)
	if !strings.Contains(errs, "up to line 5005: 5000 added\n") || !strings.Contains(errs, "up to line 6008: 6000 added, 1 duplicate, 1 invalid\n") {
		t.Errorf("progress: %s", errs)
	}
	if !regexp.MustCompile(`(?m)^6007 +- +- +invalid +wrong_fields`).MatchString(out) || !regexp.MustCompile(`(?m)^6008 +sk-c….* +k_\w+ +duplicate`).MatchString(out) {
		t.Errorf("results: %s", out)
	}
	if _, errs = term.want(3, "keys", "import", file, "--dry-run"); !strings.Contains(errs, "6001 duplicate, 1 invalid (a dry run: nothing was changed)") {
		t.Errorf("again: %s", errs)
	}
	term.want(2, "keys", "import", filepath.Join(t.TempDir(), "canary"))
	term.want(2, "keys", "import")
	if _, _, code := term.run(" \n\n", "keys", "import", "-"); code != 2 {
		t.Errorf("nothing: exit %d", code)
	}
	if _, errs, code := term.run(secret+"a\n"+strings.Repeat("canary", 20000), "keys", "import", "-"); code != 1 || !strings.Contains(errs, "too long") {
		t.Errorf("a line without end: exit %d %s", code, errs)
	}
}

func TestKeysImportWithValidation(t *testing.T) {
	term := start(t)
	term.behave(secret+"good", fakellm.Behaviour{})
	out, errs, code := term.run(secret+"good\n"+secret+"unknown\n", "keys", "import", "-", "--validate", "--ttl", "1h")
	if code != 3 || !strings.Contains(errs, "1 added, 1 failed") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if !regexp.MustCompile(`(?m)^1 .* added +- +gpt-oss`).MatchString(out) || !regexp.MustCompile(`(?m)^2 .* failed +auth_rejected`).MatchString(out) {
		t.Errorf("results: %s", out)
	}
	out, _ = term.want(0, "keys", "list", "--category", "gpt-oss")
	if strings.Count(out, "\n") != 2 {
		t.Errorf("by category: %s", out)
	}
}

func TestKeysCheckAndVerify(t *testing.T) {
	term := start(t)
	term.behave(secret+"good", fakellm.Behaviour{})
	out, _, _ := term.run(secret+"good\n"+secret+"bad\n", "keys", "import", "-", "-o", "json")
	ids := keyID.FindAllString(out, -1)
	if len(ids) != 2 {
		t.Fatalf("imported %v", ids)
	}
	out, errs := term.want(3, "keys", "check", "--apply=false")
	if !strings.Contains(errs, "1 valid, 1 rejected; the answers changed nothing") || !regexp.MustCompile(`rejected +auth_rejected +active +auto_disabled`).MatchString(out) {
		t.Errorf("check: %s%s", out, errs)
	}
	term.want(0, "keys", "check", ids[0])
	if _, errs = term.want(3, "keys", "check"); !strings.Contains(errs, "have taken effect") {
		t.Errorf("check: %s", errs)
	}
	if out, _ = term.want(0, "keys", "list", "--status", "auto_disabled"); !strings.Contains(out, ids[1]) {
		t.Errorf("after the check: %s", out)
	}
	out, _ = term.want(0, "keys", "verify", ids[0])
	if !regexp.MustCompile(`(?m)^true +active +gpt-oss +gpt-oss:20b`).MatchString(out) {
		t.Errorf("verify: %s", out)
	}
	if _, errs, code := term.run(secret+"nobody\n", "keys", "verify", "-"); code != 1 || !strings.Contains(errs, "does not accept") {
		t.Errorf("a bad key: exit %d %s", code, errs)
	}
	if _, _, code := term.run("two canaries\nin two lines\n", "keys", "verify", "-"); code != 2 {
		t.Errorf("two keys: exit %d", code)
	}
	term.want(5, "keys", "verify", "k_0000000000000")
	term.want(5, "keys", "check", "k_0000000000000")
}

func TestTokensCarriedOver(t *testing.T) {
	term := start(t)
	const old = "sk-canary-0123456789ABCDEFghij"
	out, errs, code := term.run(old+"\n", "tokens", "create", "mobile", "--carry-over")
	if code != 0 || !regexp.MustCompile(`(?m)^t_\w+ +sk-c…ghij +true +mobile`).MatchString(out) || errs != "" {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if out, _, code = term.run(old, "tokens", "create", "again", "--carry-over"); code != 0 || !strings.Contains(out, "false    mobile") {
		t.Errorf("again: exit %d: %s", code, out)
	}
	if _, errs, code = term.run("sk-canary", "tokens", "create", "weak", "--carry-over"); code != 1 || !strings.Contains(errs, "128 bits") {
		t.Errorf("weak: exit %d: %s", code, errs)
	}
	if _, _, code = term.run("", "tokens", "create", "none", "--carry-over"); code != 2 {
		t.Errorf("none: exit %d", code)
	}
}
