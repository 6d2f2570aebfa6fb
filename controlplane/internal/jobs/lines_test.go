package jobs

import (
	"fmt"
	"strings"
	"testing"

	"ollama-api-pool/controlplane/internal/pool"
)

const (
	password = "hunter2-canary"
	session  = "eyJzZXNzaW9uIjoiY2FuYXJ5In0.canary.session"
	key      = "0123456789abcdef0123456789abcdef.AbCdEfGhIjKlMnOpQrStUvWx"
)

func TestLines(t *testing.T) {
	for _, row := range []struct {
		line, label, key, fault string
	}{
		{"ann@example.com----" + password + "----" + session + "----" + key, "ann@example.com", key, ""},
		{"ann@example.com----" + password + "----" + session + "----aid-77----" + key, "ann@example.com", key, ""},
		{"ann----" + key, "ann", key, ""},
		{key, "", key, ""},
		{"test@example.com----password123----session_token----ollama-abc123", "test@example.com", "ollama-abc123", ""},
		{" ann@example.com ---- " + password + "----x---- " + key + "  ", "ann@example.com", key, ""},
		{"ann@example.com--------" + session + "----" + key, "ann@example.com", key, ""}, // no password
		{"小明----" + key, "小明", key, ""},

		{"ann@example.com----" + password + "----" + session, "", "", WrongFields},
		{strings.Repeat("a----", 5) + key, "", "", WrongFields},
		{"ann@example.com----" + password + "----" + session + "----", "", "", NoKey},
		{"ann----", "", "", NoKey},
		{"----", "", "", NoKey},
		{"----" + key, "", key, ""},
		{"short", "", "", BadKey},
		{"two keys in-one-line", "", "", BadKey},
		{key + "," + key, "", "", BadKey},
		{key + ";" + key, "", "", BadKey},
		{"ann----" + key + "|" + key, "", "", BadKey},
		{"ключ-в-кириллице", "", "", BadKey},
		{strings.Repeat("k", 513), "", "", BadKey},
		{"ann\x01----" + key, "", "", BadLabel},
		{"ann\u202e----" + key, "", "", BadLabel},
		{strings.Repeat("n ", 101) + "----" + key, "", "", BadLabel},
		{key + "----ann@example.com----" + password + "----" + session, "", "", LooksSwapped},
		{key + "----ann@example.com", "", "", LooksSwapped},
		{key + "----" + password, "", "", LooksSwapped},
		{"sk-or-v1-short----something", "", "", LooksSwapped},
		{"ann@example.com", "", "", LooksSwapped},
	} {
		got := ReadText(row.line)
		if len(got) != 1 || got[0].Number != 1 || got[0].Label != row.label || got[0].Key.Reveal() != row.key || got[0].Fault != row.fault {
			t.Errorf("%s: got %+v (key %d characters), want %+v", row.line, got, len(got[0].Key.Reveal()), row)
		}
		if shown := fmt.Sprintf("%+v %#v", got, got); strings.Contains(shown, password) || strings.Contains(shown, session) || strings.Contains(shown, key) {
			t.Errorf("%s: printed, it shows a secret", row.line)
		}
		if row.fault != "" && messages[row.fault] == "" {
			t.Errorf("%s is not told in words", row.fault)
		}
	}
}

func TestTexts(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "",
		"\n \n\t\r\n":                            "",
		"\ufeffkey-number-1\r\nkey-number-2\r\n": "1 2",
		"key-number-1\n\n\nkey-number-4":         "1 4",
		"key-number-1\rkey-number-2":             "1!", // a lone carriage return ends no line
	} {
		var got []string
		for _, l := range ReadText(text) {
			mark := ""
			if l.Fault != "" {
				mark = "!"
			}
			got = append(got, fmt.Sprint(l.Number, mark))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %v, want %s", text, got, want)
		}
	}
}

func TestLists(t *testing.T) {
	got := ReadList([]string{key, " " + key + "\n", "", "ann----" + key, "ann@example.com"})
	want := []string{"", "", NoKey, BadKey, LooksSwapped}
	for i, l := range got {
		if l.Number != i+1 || l.Fault != want[i] || l.Fault == "" && l.Key.Reveal() != key {
			t.Errorf("%d: got %+v, want %q", i, l, want[i])
		}
	}
}

// Whatever the line, what is kept of it is its first and its last field, and the last one is never shown.
func FuzzReadText(f *testing.F) {
	for _, s := range []string{"a@b.c----p----s----" + key, "u----" + key, key, "----", "\ufeff\n", "a----b----c", "a@b----\x00----c----dddddddddd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, l := range ReadText(text) {
			k := l.Key.Reveal()
			switch {
			case l.Number < 1:
				t.Errorf("%q: no number", text)
			case (l.Fault == "") != (k != ""):
				t.Errorf("%q: %+v has a key of %d", text, l, len(k))
			case l.Fault != "" && (l.Label != "" || l.Display != ""):
				t.Errorf("%q: something is kept of a bad line: %+v", text, l)
			case k != "" && (!pool.IsSecret(k) || !strings.Contains(text, k)):
				t.Errorf("%q: not a key of it", text)
			case l.Label != "" && !strings.Contains(text, l.Label):
				t.Errorf("%q: not a label of it: %q", text, l.Label)
			}
		}
	})
}
