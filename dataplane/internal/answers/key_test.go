package answers

import (
	"encoding/binary"
	"strings"
	"testing"
)

func keyOf(t *testing.T, q Question) Key {
	t.Helper()
	k, ok := q.Key()
	if !ok || k == (Key{}) {
		t.Fatalf("no key for %+v", q)
	}
	return k
}

func bodyKey(t *testing.T, body string) Key {
	t.Helper()
	return keyOf(t, Question{Token: 1, Provider: "ollama", Body: []byte(body)})
}

func TestWhatBodiesAreTheSame(t *testing.T) {
	for _, row := range []struct {
		why, one, other string
		same            bool
	}{
		{"white space", `{"a":[1,{"b":2}],"c":"d e"}`, " {\n\"a\" :\t[ 1 , { \"b\":\r2 } ] , \"c\":\"d e\" }\n", true},
		{"white space in a string", `{"a":"b c"}`, `{"a":"bc"}`, false},
		{"order of members", `{"a":1,"b":{"c":2,"d":[{"e":3,"f":4}]},"g":5}`, `{"g":5,"b":{"d":[{"f":4,"e":3}],"c":2},"a":1}`, true},
		{"order of members, empty ones between", `{"a":{},"b":[],"c":[{},{}],"d":1}`, `{"d":1,"c":[{},{}],"b":[],"a":{}}`, true},
		{"order in an array", `{"a":[1,2]}`, `{"a":[2,1]}`, false},
		{"which object of two a member is in", `{"a":{"c":1,"d":2},"b":{}}`, `{"a":{"c":1},"b":{"d":2}}`, false},
		{"values of two members exchanged", `{"a":1,"b":2}`, `{"a":2,"b":1}`, false},
		{"escaped letter", `{"model":"\u0041\u00e9"}`, `{"\u006dodel":"Aé"}`, true},
		{"escaped slash", `{"a":"\/"}`, `{"a":"/"}`, true},
		{"short and long escapes", `{"a":"\b\f\n\r\t\"\\"}`, `{"a":"\u0008\u000c\u000A\u000d\u0009\u0022\u005C"}`, true},
		{"escaped and other n", `{"a":"\n"}`, `{"a":"\\n"}`, false},
		{"surrogate pair", `{"a":"\ud83d\uDE00"}`, `{"a":"😀"}`, true},
		{"half a pair and what replaces it", `{"a":"\ud83d"}`, `{"a":"\ufffd"}`, false},
		{"two halves", `{"a":"\ud83d"}`, `{"a":"\ude00"}`, false},
		{"half a pair before a pair", `{"a":"\ud83d\ud83d\ude00"}`, `{"a":"\uD83D😀"}`, true},
		{"halves in the wrong order", `{"a":"\ude00\ud83d"}`, `{"a":"\ud83d\ude00"}`, false},
		{"half a pair and its spelling as text", `{"a":"\ud83d"}`, `{"a":"\\ud83d"}`, false},
		{"bytes that are no UTF-8", "{\"a\":\"\xff\"}", "{\"a\":\"\xfe\"}", false},
		{"no UTF-8 and what replaces it", "{\"a\":\"\xff\"}", `{"a":"\ufffd"}`, false},
		{"half a pair as bytes", "{\"a\":\"\xed\xa0\xbd\"}", `{"a":"\ud83d"}`, false},
		{"half a character before an escaped one", "{\"a\":\"\xc3\\u00e9\"}", "{\"a\":\"\xc3é\"}", true},
		{"half a character and a whole one", "{\"a\":\"\xc3\"}", `{"a":"é"}`, false},
		{"a zero", `{"a":"\u0000"}`, `{"a":""}`, false},
		{"composed and decomposed", `{"a":"é"}`, `{"a":"e\u0301"}`, false},
		{"case of a value", `{"a":"b"}`, `{"a":"B"}`, false},
		{"1 and 1.0", `{"a":1}`, `{"a":1.0}`, false},
		{"1 and 1e0", `{"a":1}`, `{"a":1e0}`, false},
		{"e and E", `{"a":1e0}`, `{"a":1E0}`, false},
		{"0 and -0", `{"a":0}`, `{"a":-0}`, false},
		{"beyond what a double tells apart", `{"seed":9007199254740993}`, `{"seed":9007199254740992}`, false},
		{"too large for a double", `{"a":1e400}`, `{"a":1e401}`, false},
		{"number and string", `{"a":1}`, `{"a":"1"}`, false},
		{"word and string", `{"a":true}`, `{"a":"true"}`, false},
		{"null and none", `{"a":null}`, `{}`, false},
		{"stream false and none", `{"model":"m","stream":false}`, `{"model":"m"}`, false},
		{"stream null and false", `{"stream":null}`, `{"stream":false}`, false},
		{"empty array and object", `{"a":[]}`, `{"a":{}}`, false},
		{"empty array and null", `{"a":[]}`, `{"a":[null]}`, false},
		{"flat and nested", `{"a":[1,2]}`, `{"a":[[1,2]]}`, false},
		{"where an array ends", `{"a":[[1],2]}`, `{"a":[[1,2]]}`, false},
		{"member and name with its text", `{"a":1,"b":2}`, `{"a\":1,\"b":2}`, false},
		{"once and twice", `{"a":1}`, `{"a":1,"a":1}`, false},
		{"the last of two", `{"a":1,"a":2}`, `{"a":2}`, false},
		{"order of two", `{"a":1,"a":2}`, `{"a":2,"a":1}`, false},
		{"order of two, one escaped", `{"a":1,"\u0061":2}`, `{"a":2,"\u0061":1}`, false},
		{"two, and one between", `{"a":1,"b":3,"a":2}`, `{"b":3,"a":1,"a":2}`, true},
		{"two in another object", `{"x":{"a":1,"b":0,"a":2}}`, `{"x":{"a":2,"b":0,"a":1}}`, false},
		{"case of a name", `{"a":1}`, `{"A":1}`, false},
		{"order of names that Go takes for one", `{"temperature":0,"Temperature":1}`, `{"Temperature":1,"temperature":0}`, false},
		{"the same with the Kelvin sign", `{"k":0,"\u212a":1}`, `{"\u212a":1,"k":0}`, false},
		{"the same with a long s", `{"S":0,"ſ":1}`, `{"ſ":1,"S":0}`, false},
		{"the same in Greek", `{"σ":0,"ς":1}`, `{"ς":1,"σ":0}`, false},
		{"order of names that are one but for hyphens", `{"max_tokens":1,"maxTokens":2}`, `{"maxTokens":2,"max_tokens":1}`, false},
		{"order of names that Go cannot tell apart", "{\"\xff\":0,\"\\ud800\":1}", "{\"\\ud800\":1,\"\xff\":0}", false},
		{"hyphens in a name", `{"max_tokens":1}`, `{"maxtokens":1}`, false},
	} {
		if same := bodyKey(t, row.one) == bodyKey(t, row.other); same != row.same {
			t.Errorf("%s: %s and %s: same %v, want %v", row.why, row.one, row.other, same, row.same)
		}
	}
}

func TestWhatQuestionsAreTheSame(t *testing.T) {
	id := string(binary.BigEndian.AppendUint64(nil, 7))
	long := strings.Repeat("x", 3*spillAt)
	all := []Question{
		{Token: 7},
		{Token: 8},
		{Token: 7 << 8},
		{Tenant: "7"},
		{Tenant: "8"},
		{Tenant: id},
		{Tenant: "k" + id},
		{Tenant: "k"},
		{Tenant: "t"},
		{Tenant: "t_7", Token: 7},
		{Tenant: "ab", Provider: "c"},
		{Tenant: "a", Provider: "bc"},
		{Token: 7, Provider: "ollama"},
		{Token: 7, Provider: "openrouter"},
		{Token: 7, Provider: "ollama", Revision: 1},
		{Token: 7, Provider: "ollama", Revision: 256},
		{Token: 7, Path: "/v1/chat/completions"},
		{Token: 7, Path: "/v1/completions"},
		{Token: 7, Provider: "ollama/v1", Path: "/chat"},
		{Token: 7, Provider: "ollama", Path: "/v1/chat"},
		{Token: 7, Path: "a", Headers: []Header{{"b", "c"}}},
		{Token: 7, Path: "a", Headers: []Header{{"bc", ""}}},
		{Token: 7, Path: "a", Headers: []Header{{"b", "c"}, {"b", "c"}}},
		{Token: 7, Path: "a", Headers: []Header{{"b", "c"}, {"", ""}}},
		{Token: 7, Headers: []Header{{"Accept-Language", "de"}}},
		{Token: 7, Headers: []Header{{"Accept-Language", "en"}}},
		{Token: 7, Headers: []Header{{"Openai-Beta", "en"}}},
		{Token: 7, Path: long},
		{Token: 7, Path: long + "y"},
		{Token: 7, Path: "y" + long},
		{Token: 7, Headers: []Header{{long, long}}},
		{Token: 7, Headers: []Header{{long + "x", long[1:]}}},
	}
	seen := map[Key]int{}
	for i, q := range all {
		q.Body = []byte(`{"model":"m"}`)
		k := keyOf(t, q)
		if first, twice := seen[k]; twice {
			t.Errorf("%+v and %+v have the same key", all[first], q)
		}
		seen[k] = i
		if again := keyOf(t, q); again != k {
			t.Errorf("%+v has two keys", q)
		}
	}
	body := []byte(`{"model":"m"}`)
	if keyOf(t, Question{Tenant: "x", Token: 1, Body: body}) != keyOf(t, Question{Tenant: "x", Token: 2, Body: body}) {
		t.Error("two tokens of one tenant do not share")
	}
}

// The body is the last part of a key, and a header's value could hold one.
func TestNoPartIsTakenForAnother(t *testing.T) {
	one := Question{Token: 1, Path: "p", Body: []byte(`{}`)}
	k := keyOf(t, one)
	for cut := range 40 {
		long := append(binary.BigEndian.AppendUint64(nil, uint64(cut)), `{}`...)
		for _, q := range []Question{
			{Token: 1, Path: "p" + string(long), Body: []byte(`{}`)},
			{Token: 1, Path: "p", Headers: []Header{{string(long), ""}}, Body: []byte(`{}`)},
		} {
			if keyOf(t, q) == k {
				t.Errorf("%+v has the key of %+v", q, one)
			}
		}
	}
}

func TestWhatHasNoKey(t *testing.T) {
	nested := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	members := func(n int) string { return "{" + strings.Repeat(`"":0,`, n-1) + `"":0}` }
	name := func(n int) string { return `{"` + strings.Repeat("n", n-2) + `":0}` }
	for _, row := range []struct {
		why, body string
		ok        bool
	}{
		{"nothing", ``, false},
		{"no object", `[{"a":1}]`, false},
		{"a string", `"a"`, false},
		{"cut", `{"a":"b`, false},
		{"cut after a backslash", `{"a":"b\`, false},
		{"cut in an escape", `{"a":"\u00`, false},
		{"two objects", `{}{}`, false},
		{"a raw control character", "{\"a\":\"\n\"}", false},
		{"a number that JSON has not", `{"a":01}`, false},
		{"as deep as may be", nested(maxDepth - 1), true},
		{"deeper", nested(maxDepth), false},
		{"far deeper", strings.Repeat(`{"a":`, 1<<20), false},
		{"as many members as may be", members(maxMembers), true},
		{"one more", members(maxMembers + 1), false},
		{"one more, in many objects", `{"a":[` + strings.Repeat(`{"":0},`, maxMembers-1) + `{"":0}]}`, false},
		{"names as long as may be", name(maxNames), true},
		{"longer", name(maxNames + 1), false},
		{"longer together", `{"a":[` + name(maxNames/2) + `,` + name(maxNames/2+1) + `]}`, false},
	} {
		k, ok := Question{Body: []byte(row.body)}.Key()
		if ok != row.ok || ok == (k == Key{}) {
			t.Errorf("%s: ok %v, want %v; key %v", row.why, ok, row.ok, k)
		}
	}
}

func TestALargeBody(t *testing.T) {
	prompt := strings.Repeat(`say \"hi\"\n \ud83d\ude00 and more words `, 200_000) // 8 MB
	one := bodyKey(t, `{"model":"m","prompt":"`+prompt+`"}`)
	if other := bodyKey(t, `{"prompt":"`+prompt+`","model":"m"}`); other != one {
		t.Error("the order of members makes a difference")
	}
	if other := bodyKey(t, `{"model":"m","prompt":"`+prompt[:len(prompt)-1]+`."}`); other == one {
		t.Error("the last character makes no difference")
	}
}

// What a question leaves behind for the next must not be seen in its key, nor hold its body in memory.
func TestOneQuestionLeavesNothingToTheNext(t *testing.T) {
	bodies := []string{`{"b":{"c":1,"a":[{"z":1,"y":2}]},"a":2}`, `{}`, `{"a":"` + strings.Repeat("x", 3*spillAt) + `"}`, `{"x":1`, `{"a":01}`}
	want := map[string]Key{}
	for _, body := range bodies {
		want[body], _ = Question{Body: []byte(body)}.Key()
	}
	for _, before := range bodies {
		for _, body := range bodies {
			c := canons.Get().(*canon)
			c.read([]byte(before))
			c.putPart(before)
			c.giveBack()
			if c.body != nil || len(c.members)+len(c.order)+len(c.names)+len(c.buf) > 0 {
				t.Fatalf("after %.20s there is left %+v", before, c.outline)
			}
			if k, _ := (Question{Body: []byte(body)}).Key(); k != want[body] {
				t.Errorf("after %.20s the key of %.20s is another", before, body)
			}
		}
	}
}
