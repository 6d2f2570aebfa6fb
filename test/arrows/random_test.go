package arrows

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Where numbers may be drawn that somebody could foresee, and what for. A new place needs a reason here, and nothing that is
// kept or sent may come of it.
var foreseeable = map[string]string{
	"controlplane/internal/pool/pool.go":   "spreads how long a limited key waits whose upstream does not say",
	"dataplane/internal/leases/link.go":    "spreads reconnects",
	"dataplane/internal/leases/move.go":    "spreads reconnects",
	"dataplane/internal/leases/panic.go":   "spreads load over the least bad keys",
	"dataplane/internal/leases/sending.go": "spreads heartbeats",
	"dataplane/internal/proxy/throttle.go": "holds a part of the requests back",
	"dataplane/internal/leases/view.go":    "spreads where rotations begin, and which of some names is forgotten",
}

// spreads are the functions that draw a wait or a place, or what they are made of.
var spreads = []string{"Float64", "Int64N", "IntN", "N", "Uint64N"}

// draws answers what a file draws from sources that can be foreseen and is not meant to, and how often it draws at all. src
// may be nil: the file is read.
func draws(path, name string, src any) (bad []string, times int, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, src, 0)
	if err != nil {
		return nil, 0, err
	}
	for _, spec := range file.Imports {
		source, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, 0, err
		}
		calls := calls(file, spec, source)
		times += len(calls)
		switch {
		case source == "crypto/rand" || !strings.Contains(source, "rand") && !strings.Contains(source, "uuid"):
		case source != "math/rand/v2" || foreseeable[name] == "":
			bad = append(bad, "import of "+source)
		default:
			for _, call := range calls {
				if !slices.Contains(spreads, call) {
					bad = append(bad, "call of "+source+"."+call)
				}
			}
		}
	}
	return bad, times, nil
}

// calls answers the functions that a file calls of something it imports, if that is a source of numbers.
func calls(file *ast.File, spec *ast.ImportSpec, source string) (found []string) {
	name := "rand"
	if spec.Name != nil {
		name = spec.Name.Name
	}
	if !strings.Contains(source, "/rand") {
		return nil
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == name {
				found = append(found, s.Sel.Name)
			}
		}
		return true
	})
	return found
}

// What must not be guessed comes from crypto/rand: outside of tests nothing else is drawn from, but to spread load.
func TestPredecessor_C6(t *testing.T) {
	drawing := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		name, _ := filepath.Rel(root, path)
		bad, times, err := draws(path, name, nil)
		for _, what := range bad {
			t.Errorf("%s: %s, which can be foreseen", name, what)
		}
		if times > 0 {
			drawing[name] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, why := range foreseeable {
		if !drawing[name] {
			t.Errorf("%s may draw (%s) and does not: take it off the list", name, why)
		}
	}
	for _, name := range []string{"controlplane/internal/adminapi/token.go", "controlplane/internal/adminapi/nodes.go", "controlplane/internal/pool/id.go"} {
		if !drawing[name] {
			t.Errorf("%s draws tokens or ids and was not seen", name)
		}
	}
}

func TestADrawThatCanBeForeseenIsSeen(t *testing.T) {
	const token, link = "controlplane/internal/adminapi/token.go", "dataplane/internal/leases/link.go"
	for _, row := range []struct{ name, text, want string }{
		{token, `import "math/rand"; var x = rand.Int()`, "import of math/rand"},
		{token, `import "math/rand/v2"; var x = rand.Int64N(5)`, "import of math/rand/v2"},
		{token, `import r "golang.org/x/exp/rand"; var x = r.Int()`, "import of golang.org/x/exp/rand"},
		{token, `import "github.com/google/uuid"; var x = uuid.New()`, "import of github.com/google/uuid"},
		{token, `import "crypto/rand"; var x = rand.Text()`, ""},
		{link, `import "math/rand"; var x = rand.Float64()`, "import of math/rand"},
		{link, `import m "math/rand/v2"; var x = m.Uint64()`, "call of math/rand/v2.Uint64"},
		{link, `import m "math/rand/v2"; var x = m.Float64()`, ""},
	} {
		bad, _, err := draws(row.name, row.name, "package p\n"+row.text)
		if err != nil || strings.Join(bad, ", ") != row.want {
			t.Errorf("%s: %s: found %q, want %q (%v)", row.name, row.text, bad, row.want, err)
		}
	}
}
