// Package arrows holds the tree to its arrows: who may import whom, and where a secret may be revealed.
package arrows

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module = "ollama-api-pool/"
	root   = "../.."
)

// imports answers what every package of the module imports, tests apart.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		all[strings.TrimPrefix(words[0], module)] = words[1:]
	}
	return all
}

// deps answers all that a package stands on, near and far.
func deps(t *testing.T, pkg string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "./"+pkg)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

// violations answers the arrows that may not be.
func violations(all map[string][]string) []string {
	var found []string
	for from, list := range all {
		for _, to := range list {
			inside, ours := strings.CutPrefix(to, module)
			switch {
			case ours && plane(from) != "" && plane(inside) != "" && plane(from) != plane(inside):
				found = append(found, from+" → "+inside+": the planes share nothing but the contract")
			case ours && strings.HasSuffix(inside, "/server") && from != plane(inside) && from != "test/system":
				found = append(found, from+" → "+inside+": only its main and test/system import a server")
			case ours && strings.HasPrefix(inside, "test/") && !strings.HasPrefix(from, "test/"):
				found = append(found, from+" → "+inside+": no plane's code imports what tests need")
			case ours && strings.HasPrefix(inside, "gen/") && !mayImportGen(from):
				found = append(found, from+" → "+inside+": this package has nothing to do with the wire")
			case to == "go.etcd.io/bbolt" && from != "controlplane/internal/store":
				found = append(found, from+" → bbolt: only store knows it")
			case inside == "gen/pool/store/v1" && from != "controlplane/internal/store":
				found = append(found, from+" → stored records: only store knows them")
			case stdlibOnly(from) && strings.Contains(strings.Split(to, "/")[0], "."):
				found = append(found, from+" → "+to+": this package imports the standard library only")
			case stdlibOnly(from) && ours:
				found = append(found, from+" → "+inside+": this package imports the standard library only")
			}
		}
	}
	slices.Sort(found)
	return found
}

func plane(pkg string) string {
	first, _, _ := strings.Cut(pkg, "/")
	if first == "controlplane" || first == "dataplane" {
		return first
	}
	return ""
}

func mayImportGen(pkg string) bool {
	return strings.HasPrefix(pkg, "gen/") || slices.Contains([]string{
		"controlplane/internal/leaseapi", "controlplane/internal/adminapi", "controlplane/internal/rest",
		"controlplane/internal/store", "controlplane/internal/cli", "dataplane/internal/leases",
	}, pkg)
}

func stdlibOnly(pkg string) bool {
	return pkg == "controlplane/internal/pool" || pkg == "dataplane/internal/provider"
}

func TestTheArrows(t *testing.T) {
	all := imports(t)
	if len(all) < 15 {
		t.Fatalf("only %d packages were seen", len(all))
	}
	for _, v := range violations(all) {
		t.Error(v)
	}
	for name := range all {
		last := name[strings.LastIndex(name, "/")+1:]
		if slices.Contains([]string{"util", "utils", "common", "helpers", "models", "types", "pkg"}, last) {
			t.Errorf("%s: a package is named by what it provides", name)
		}
	}
	for _, heavy := range []string{"buf.build/go/protovalidate", "go.etcd.io/bbolt", "github.com/grpc-ecosystem/grpc-gateway/v2/runtime"} {
		// The generated descriptors may be there; what checks and stores by them may not.
		if strings.HasPrefix(heavy, "buf.build") && slices.Contains(deps(t, "dataplane"), heavy) {
			t.Errorf("the data plane carries %s", heavy)
		}
	}
}

func TestAForbiddenArrowIsSeen(t *testing.T) {
	for from, to := range map[string]string{
		"controlplane/internal/pool":     "go.etcd.io/bbolt",
		"controlplane/internal/adminapi": "go.etcd.io/bbolt",
		"dataplane/internal/proxy":       module + "controlplane/internal/pool",
		"dataplane/internal/leases":      module + "controlplane/internal/leaseapi",
		"dataplane/internal/provider":    module + "dataplane/internal/leases",
		"controlplane/internal/rest":     module + "controlplane/server",
		"controlplane/server":            module + "test/fakellm",
		"dataplane/internal/tokens":      module + "gen/pool/lease/v1",
		"controlplane/internal/leaseapi": module + "gen/pool/store/v1",
		"dataplane/server":               module + "controlplane/server",
	} {
		if len(violations(map[string][]string{from: {to}})) == 0 {
			t.Errorf("%s → %s was let through", from, to)
		}
	}
}

// Where the plaintext of a secret may be taken out, and how often. A new place needs a reason here.
var reveals = map[string]int{
	"controlplane/internal/store/keys.go":     2, // the fingerprint: to find a key, and to keep it
	"controlplane/internal/store/sealed.go":   1, // sealing
	"controlplane/internal/probe/upstream.go": 1, // into the question to the provider
	"controlplane/internal/leaseapi/wire.go":  1, // into the lease, over mutual TLS
	"controlplane/internal/leaseapi/join.go":  1, // the proof of a join token
	"controlplane/server/databases.go":        1, // the CA's key
	"dataplane/internal/leases/join.go":       1, // the proof of a join token
	"dataplane/internal/proxy/headers.go":     1, // into the request to the provider
}

func TestSecretsAreRevealedOnlyWhereTheyMustBe(t *testing.T) {
	found := map[string]int{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		name, _ := filepath.Rel(root, path)
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if s, ok := call.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Reveal" {
					found[name]++
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(found, reveals) {
		t.Errorf("secrets are revealed in %v, expected %v", found, reveals)
	}
}
