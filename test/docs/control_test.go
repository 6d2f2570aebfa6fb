package docs

import (
	"slices"
	"strings"
	"testing"
)

// In these pages ”' stands for the mark of a code block, and ' for that of code in a line.
func written(text string) string { return strings.ReplaceAll(text, "'", "`") }

const fixture = `# A pool

English | [中文](README.zh-CN.md)

Words. See [the design](docs/design.md), [a part](#what-it-does).

'''sh
make run    # starts it
# the first key
curl -s http://x/y \
  --json z
'''

## What it does

| path | |
|---|---|
| 'GET /a', '/b' | one |
| other | two |

'''js
  // says it
  say(1);
'''
`

const translated = `# 池

[English](README.md) | 中文

词。见[设计](docs/design.md)、[一节](#做什么)。

'''sh
make run    # 启动
# 第一个密钥
curl -s http://x/y \
  --json z
'''

## 做什么

| 路径 | |
|---|---|
| 'GET /a'、'/b' | 一 |
| 其他 | 二 |

'''js
  // 说出来
  say(1);
'''
`

func TestATranslationInStepIsLetThrough(t *testing.T) {
	if found := drift(written(fixture), written(translated)); len(found) > 0 {
		t.Errorf("found %q", found)
	}
}

func TestEachKindOfDriftIsFound(t *testing.T) {
	for what, change := range map[string][2]string{
		"a heading is missing":             {"## 做什么\n", ""},
		"a heading of another level":       {"## 做什么", "### 做什么"},
		"a heading too many":               {"词。", "## 词"},
		"a heading in another place":       {"## 做什么\n\n| 路径 | |\n|---|---|\n| 'GET /a'、'/b' | 一 |\n| 其他 | 二 |\n", "| 路径 | |\n|---|---|\n| 'GET /a'、'/b' | 一 |\n| 其他 | 二 |\n\n## 做什么\n"},
		"a code block is missing":          {"'''js\n  // 说出来\n  say(1);\n'''\n", ""},
		"a code block of another language": {"'''js", "'''ts"},
		"a line of code differs":           {"--json z", "--json y"},
		"white space in code differs":      {"  --json z", " --json z"},
		"a line of code is missing":        {"  --json z\n", ""},
		"a remark is missing":              {"# 第一个密钥\n", ""},
		"a remark became code":             {"# 第一个密钥", "第一个密钥"},
		"a remark of another kind":         {"// 说出来", "# 说出来"},
		"a remark at the end is missing":   {"make run    # 启动", "make run"},
		"code before a remark differs":     {"make run ", "make it "},
		"a table is missing":               {"| 路径 | |\n|---|---|\n| 'GET /a'、'/b' | 一 |\n| 其他 | 二 |\n", ""},
		"a row is missing":                 {"| 其他 | 二 |\n", ""},
		"a table in two":                   {"| 其他", "\n| 其他"},
		"code in the first column differs": {"'GET /a'", "'GET /c'"},
		"code in the first column is gone": {"、'/b'", ""},
		"a link is missing":                {"[设计](docs/design.md)", "设计"},
		"a link to another file":           {"docs/design.md", "docs/other.md"},
		"a link too many":                  {"词。", "[词](docs/more.md)。"},
		"no link back to the original":     {"[English](README.md)", "English"},
	} {
		changed := strings.Replace(translated, change[0], change[1], 1)
		if changed == translated {
			t.Fatalf("%s: nothing was changed", what)
		}
		if len(drift(written(fixture), written(changed))) == 0 {
			t.Errorf("%s: not found", what)
		}
	}
}

func TestAnOriginalWithoutALinkToItsTranslationIsFound(t *testing.T) {
	changed := strings.Replace(fixture, "[中文](README.zh-CN.md)", "中文", 1)
	if changed == fixture {
		t.Fatal("nothing was changed")
	}
	if found := drift(written(changed), written(translated)); len(found) != 1 {
		t.Errorf("found %q, want the missing link alone", found)
	}
}

func TestLinksThatLeadNowhereAreFound(t *testing.T) {
	tree := map[string]string{"docs/b.md": "# The end\n", "docs/c": "", "README.md": "# x\n"}
	see := func(path string) (string, bool) {
		text, ok := tree[path]
		return text, ok
	}
	const text = `# Over here, please!
[a](b.md) [b](b.md#the-end) [c](../README.md) [d](#over-here-please) [e](https://example.com/nothing) [f](c) '[g](nothing.md)'
[1](nothing.md) [2](b.md#no-end) [3](../nothing/) [4](#there) ![5](b.png)
'''sh
echo '[h](nothing.md)'
'''
`
	got := broken("docs", written(text), see)
	if want := []string{"nothing.md", "b.md#no-end", "../nothing/", "#there", "b.png"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}
