package answers

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// recorder is a hash that keeps what is written to it.
type recorder struct {
	hash.Hash
	text []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.text = append(r.text, p...)
	return len(p), nil
}

// canonical answers the one spelling of a body.
func canonical(body []byte) (string, bool) {
	r := &recorder{Hash: sha256.New()}
	c := &canon{buf: make([]byte, 0, spillAt), hash: r}
	if !c.read(body) {
		return "", false
	}
	c.value()
	c.spill()
	return string(r.text), true
}

func TestTheOneSpelling(t *testing.T) {
	long := strings.Repeat("long", spillAt)
	for body, want := range map[string]string{
		` { } `:                            `{}`,
		`{"b":[ ],"a":{ }}`:                `{"a":{},"b":[]}`,
		`{"b":[1 , 2.0 ,"x"],"a": -1E+5 }`: `{"a":-1E+5,"b":[1,2.0,"x"]}`,
		`{"z":{"y":[{"b":1,"a":2},{"d":3}]},"c":4}`: `{"c":4,"z":{"y":[{"a":2,"b":1},{"d":3}]}}`,
		`{"":"\/\u0041\n\u001F\"\\\ud83d"}`:         `{"":"/A\u000a\u001f\"\\\ud83d"}`,
		`{"B":1,"a":2,"b":3}`:                       `{"a":2,"B":1,"b":3}`,
		`{"b":"` + long + `\n","a":"` + long + `"}`: `{"a":"` + long + `","b":"` + long + `\u000a"}`,
		`{"a":tru}`: ``,
	} {
		if got, _ := canonical([]byte(body)); got != want {
			t.Errorf("%s is spelt %s, want %s", body, got, want)
		}
	}
}

// Sorting is where members with one name could lose their order, and does so only with many.
func TestManyMembersWithOneNameStayInTheirOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 0))
	var list []string
	for n := range 500 {
		list = append(list, fmt.Sprintf(`"%c":%d`, "aAbBcC"[rng.IntN(6)], n))
	}
	got, _ := canonical([]byte("{" + strings.Join(list, ",") + "}"))
	slices.SortStableFunc(list, func(a, b string) int { return int(a[1]|' ') - int(b[1]|' ') })
	if want := "{" + strings.Join(list, ",") + "}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// changes are the ways in which two bodies may differ in one place. Each answers whether it found one.
var changes = map[string]func(*rand.Rand, *tree) bool{
	"a character": func(rng *rand.Rand, t *tree) bool {
		if len(t.text) == 0 {
			return false
		}
		t.text[rng.IntN(len(t.text))] = letters[rng.IntN(len(letters))]
		return true
	},
	"a word or number": func(rng *rand.Rand, t *tree) bool {
		t.word = words[rng.IntN(len(words))]
		return t.kind == 'w'
	},
	"a number's spelling": func(rng *rand.Rand, t *tree) bool {
		i := slices.Index([]string{"1", "1.0", "1e0", "1E0", "1e+0"}, t.word)
		t.word = []string{"1.0", "1e0", "1E0", "1e+0", "1"}[max(i, 0)]
		return i >= 0
	},
	"a type": func(rng *rand.Rand, t *tree) bool {
		switch {
		case t.kind == 'w':
			*t = tree{kind: '"', text: []rune(t.word)}
		case t.kind == '"':
			*t = tree{kind: 'w', word: "null"}
		case len(t.members) > 0:
			return false
		default:
			t.kind ^= '[' ^ '{'
		}
		return true
	},
	"nesting": func(rng *rand.Rand, t *tree) bool {
		inner := *t
		*t = tree{kind: '[', members: []*tree{&inner}}
		return true
	},
	"where an array ends": func(rng *rand.Rand, t *tree) bool {
		n := len(t.members)
		if t.kind != '[' || n < 2 || t.members[n-2].kind != '[' {
			return false
		}
		t.members[n-2].members = append(t.members[n-2].members, t.members[n-1])
		t.members = t.members[:n-1]
		return true
	},
	"an array's order": func(rng *rand.Rand, t *tree) bool {
		if t.kind != '[' || len(t.members) < 2 {
			return false
		}
		i := rng.IntN(len(t.members) - 1)
		t.members[i], t.members[i+1] = t.members[i+1], t.members[i]
		return true
	},
	"a name": func(rng *rand.Rand, t *tree) bool {
		if len(t.names) == 0 {
			return false
		}
		t.names[rng.IntN(len(t.names))] = someText(rng)
		return true
	},
	"values exchanged": func(rng *rand.Rand, t *tree) bool {
		if t.kind != '{' || len(t.members) < 2 {
			return false
		}
		t.members[0], t.members[1] = t.members[1], t.members[0]
		return true
	},
	"a member twice": func(rng *rand.Rand, t *tree) bool {
		if len(t.names) == 0 {
			return false
		}
		i := rng.IntN(len(t.names))
		t.names, t.members = append(t.names, t.names[i]), append(t.members, t.members[i].copy())
		return true
	},
	"the order of members that may be one": func(rng *rand.Rand, t *tree) bool {
		for i := range t.names {
			for j := range i {
				if group(t.names[i]) == group(t.names[j]) {
					t.names[i], t.names[j] = t.names[j], t.names[i]
					t.members[i], t.members[j] = t.members[j], t.members[i]
					return true
				}
			}
		}
		return false
	},
	"a member or element less": func(rng *rand.Rand, t *tree) bool {
		n := len(t.members)
		if n == 0 {
			return false
		}
		t.members = t.members[:n-1]
		t.names = t.names[:min(len(t.names), n-1)]
		return true
	},
}

// Two bodies share a key if they mean the same, however they are written, and never if they differ, in whatever place.
func TestAKeyIsAMeaning(t *testing.T) {
	const seed, rounds = 1, 10_000
	rng := rand.New(rand.NewPCG(seed, 0))
	differ := map[string]int{}
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range changes {
			if !yield(name) {
				return
			}
		}
	})
	for range rounds {
		one := someObject(rng, 4)
		text := one.spell(rng)
		key := bodyKey(t, text)
		if again := one.spell(rng); bodyKey(t, again) != key {
			t.Fatalf("seed %d: the same in two spellings has two keys:\n%q\n%q", seed, text, again)
		}
		name := names[rng.IntN(len(names))]
		other := one.copy()
		places := slices.DeleteFunc(other.all(), func(t *tree) bool { return t == other && name == "nesting" || t == other && name == "a type" })
		rng.Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
		if !slices.ContainsFunc(places, func(t *tree) bool { return changes[name](rng, t) }) {
			continue
		}
		same := one.meaning() == other.meaning()
		otherText := other.spell(rng)
		if (bodyKey(t, otherText) == key) != same {
			t.Fatalf("seed %d: %s: want the same key %v:\n%q\n%q", seed, name, same, text, otherText)
		}
		if !same {
			differ[name]++
		}
	}
	for _, name := range names {
		if differ[name] < 20 {
			t.Errorf("only %d pairs differed by %s", differ[name], name)
		}
	}
}

func decoded(t *testing.T, body []byte) (v map[string]any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil || v == nil || d.More() {
		t.Fatalf("%q has a key and is no object: %v", body, err)
	}
	return v
}

// plain says whether encoding/json can write the body again without loss: no two members that some reader takes for one, and
// nothing that it replaces.
func plain(v any) bool {
	switch v := v.(type) {
	case string:
		return !strings.ContainsRune(v, utf8.RuneError)
	case []any:
		return !slices.ContainsFunc(v, func(v any) bool { return !plain(v) })
	case map[string]any:
		var names []string
		for name, v := range v {
			bare := strings.NewReplacer("-", "", "_", "").Replace(name)
			if !plain(name) || !plain(v) || slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, bare) }) {
				return false
			}
			names = append(names, bare)
		}
	}
	return true
}

// unique says whether decoding has lost no member.
func unique(body []byte, v any) bool {
	var count func(any) int
	count = func(v any) (n int) {
		switch v := v.(type) {
		case []any:
			for _, v := range v {
				n += count(v)
			}
		case map[string]any:
			for _, v := range v {
				n += 1 + count(v)
			}
		}
		return n
	}
	var o outline
	return o.read(body) && len(o.members) == count(v)
}

// FuzzKey holds the spelling against encoding/json. The seeds are in testdata.
func FuzzKey(f *testing.F) {
	f.Fuzz(func(t *testing.T, one, other []byte) {
		textOne, okOne := canonical(one)
		textOther, okOther := canonical(other)
		keyOne, hasOne := Question{Body: one}.Key()
		keyOther, hasOther := Question{Body: other}.Key()
		if okOne != hasOne || okOther != hasOther {
			t.Fatal("a key and no spelling, or the other way round")
		}
		if okOne && okOther && (keyOne == keyOther) != (textOne == textOther) {
			t.Fatalf("%q and %q: key and spelling disagree", one, other)
		}
		if okOne && okOther && keyOne == keyOther && !reflect.DeepEqual(decoded(t, one), decoded(t, other)) {
			t.Fatalf("%q and %q are not the same and share a key", one, other)
		}
		if !okOne {
			return
		}
		v := decoded(t, one)
		if !reflect.DeepEqual(decoded(t, []byte(textOne)), v) {
			t.Fatalf("%q is spelt %q, which is not the same", one, textOne)
		}
		if again, _ := canonical([]byte(textOne)); again != textOne {
			t.Fatalf("%q is spelt %q, and that %q", one, textOne, again)
		}
		var wide bytes.Buffer
		if err := json.Indent(&wide, one, " ", "\t"); err != nil {
			t.Fatal(err)
		}
		if text, _ := canonical(wide.Bytes()); text != textOne {
			t.Fatalf("white space makes of %q %q", textOne, text)
		}
		if plain(v) && unique(one, v) {
			rewritten, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if text, _ := canonical(rewritten); text != textOne {
				t.Fatalf("%q is spelt %q, and as encoding/json writes it %q", one, textOne, text)
			}
		}
	})
}

func BenchmarkKey(b *testing.B) {
	for name, turns := range map[string]int{"1KB": 4, "32KB": 140} {
		body := []byte(`{"model":"gpt-oss:120b","temperature":0,"messages":[{"role":"system","content":"You are a helpful assistant."}`)
		for range turns {
			body = append(body, `,{"role":"user","content":"`...)
			body = append(body, strings.Repeat("some words of a question\\n", 7)...)
			body = append(body, `","name":"somebody"}`...)
		}
		q := Question{Token: 1, Provider: "ollama", Path: "/v1/chat/completions", Body: append(body, `],"stream":false,"max_tokens":100}`...)}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(q.Body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := q.Key(); !ok {
					b.Fatal("no key")
				}
			}
		})
	}
}
