// Package docs holds the documents together: the Chinese readme keeps in step with the English one, and no link from one
// file to another leads nowhere.
package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

const (
	root    = "../.."
	english = "README.md"
	chinese = "README.zh-CN.md"
)

// item is a heading, a code block or a table, with what has to be the same in every language.
type item struct {
	line int // of the file, from 1
	kind string
	same []string
}

// page is what a document is made of, in its order.
type page struct {
	items []item
	links []string // everything that is linked to, as it is written
	names []string // of the headings, as links call them
}

var (
	fence    = regexp.MustCompile("^ *(```+|~~~+) *([^ `]*)")
	heading  = regexp.MustCompile(`^(#{1,6}) +(.+?) *#*$`)
	codeSpan = regexp.MustCompile("`[^`]+`")
	link     = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	remark   = regexp.MustCompile(`\s{2,}#.*$`)
	scheme   = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:`)
)

func read(text string) page {
	var p page
	var inside string // the mark that ends the code block
	for n, line := range strings.Split(text, "\n") {
		mark := fence.FindStringSubmatch(line)
		switch {
		case inside != "" && mark != nil && strings.TrimSpace(line) == inside:
			inside = ""
		case inside != "":
			p.add(normal(line))
		case mark != nil:
			inside = mark[1]
			p.items = append(p.items, item{line: n + 1, kind: strings.TrimSpace("code " + mark[2])})
		case strings.HasPrefix(line, "|"):
			if n == 0 || len(p.items) == 0 || p.items[len(p.items)-1].kind != "table" || p.items[len(p.items)-1].after() != n+1 {
				p.items = append(p.items, item{line: n + 1, kind: "table"})
			}
			p.add(strings.Join(codeSpan.FindAllString(firstCell(line), -1), " "))
		default:
			if h := heading.FindStringSubmatch(line); h != nil {
				p.items = append(p.items, item{line: n + 1, kind: "heading " + h[1]})
				p.names = append(p.names, name(h[2]))
			}
		}
		if inside == "" {
			for _, found := range link.FindAllStringSubmatch(codeSpan.ReplaceAllString(line, ""), -1) {
				p.links = append(p.links, found[1])
			}
		}
	}
	return p
}

func (p *page) add(line string) {
	last := &p.items[len(p.items)-1]
	last.same = append(last.same, line)
}

// after is the line that would go on with a table.
func (i item) after() int { return i.line + len(i.same) }

// normal takes out of a line of code what may be translated: the words of a remark, not the remark itself.
func normal(line string) string {
	text := strings.TrimLeft(line, " \t")
	for _, mark := range []string{"#", "//"} {
		if strings.HasPrefix(text, mark) {
			return line[:len(line)-len(text)] + mark
		}
	}
	return remark.ReplaceAllString(line, "  #")
}

func firstCell(row string) string {
	cell, _, _ := strings.Cut(strings.ReplaceAll(row[1:], `\|`, ""), "|")
	return cell
}

// name is what a link to a heading calls it.
func name(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, text)
}

// drift tells where a translation is out of step.
func drift(original, translation string) []string {
	a, b := read(original), read(translation)
	var found []string
	for i := range max(len(a.items), len(b.items)) {
		if i >= len(a.items) || i >= len(b.items) {
			return append(found, fmt.Sprintf("%d headings, code blocks and tables, but %d in the translation", len(a.items), len(b.items)))
		}
		x, y := a.items[i], b.items[i]
		if x.kind != y.kind {
			return append(found, fmt.Sprintf("line %d: a %s, but line %d of the translation: a %s", x.line, x.kind, y.line, y.kind))
		}
		found = append(found, differences(x, y)...)
	}
	for _, to := range files(a.links) {
		if !slices.Contains(files(b.links), to) {
			found = append(found, "the translation does not link to "+to)
		}
	}
	for _, to := range files(b.links) {
		if !slices.Contains(files(a.links), to) {
			found = append(found, "only the translation links to "+to)
		}
	}
	if !slices.Contains(a.links, chinese) {
		found = append(found, "the original does not link to "+chinese)
	}
	if !slices.Contains(b.links, english) {
		found = append(found, "the translation does not link to "+english)
	}
	return found
}

func differences(x, y item) []string {
	if len(x.same) != len(y.same) {
		return []string{fmt.Sprintf("line %d: a %s of %d lines, but of %d in the translation, line %d", x.line, x.kind, len(x.same), len(y.same), y.line)}
	}
	var found []string
	for i := range x.same {
		if x.same[i] != y.same[i] {
			found = append(found, fmt.Sprintf("the %s of line %d: %q, but %q in the translation", x.kind, x.line, x.same[i], y.same[i]))
		}
	}
	return found
}

// files answers the links to other files, but not those from one language to the other.
func files(links []string) []string {
	var list []string
	for _, to := range links {
		if path, _, _ := strings.Cut(to, "#"); path != "" && !scheme.MatchString(to) && path != english && path != chinese {
			list = append(list, to)
		}
	}
	return list
}

// broken answers the links of a document, which lies in the folder, that lead nowhere. see reads a file, or answers false.
func broken(folder, text string, see func(path string) (text string, ok bool)) []string {
	own := read(text)
	var found []string
	for _, to := range own.links {
		if scheme.MatchString(to) {
			continue
		}
		path, part, _ := strings.Cut(to, "#")
		names, ok := own.names, true
		if path != "" {
			var there string
			there, ok = see(filepath.Join(folder, path))
			names = read(there).names
		}
		if !ok || part != "" && !slices.Contains(names, part) {
			found = append(found, to)
		}
	}
	return found
}

// onDisk sees what is in the tree; a folder has no text.
func onDisk(path string) (string, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return "", false
	}
	if info.IsDir() {
		return "", true
	}
	text, err := os.ReadFile(path)
	return string(text), err == nil
}

func file(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheTranslationIsInStep(t *testing.T) {
	original, translation := file(t, filepath.Join(root, english)), file(t, filepath.Join(root, chinese))
	for _, what := range drift(original, translation) {
		t.Error(what)
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		some, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, some...)
	}
	if len(pages) < 10 {
		t.Fatalf("only %d documents were seen", len(pages))
	}
	for _, path := range pages {
		for _, to := range broken(filepath.Dir(path), file(t, path), onDisk) {
			t.Errorf("%s: %s leads nowhere", path, to)
		}
	}
}
