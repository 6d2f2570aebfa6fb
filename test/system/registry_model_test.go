package system

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// asked is what a client asked of the registry about one key, answer what it got.
type asked struct {
	what   string // add, disable, enable, delete, get
	secret string // names the key; histories are judged key by key
	id     string // of get: the id that it asks for
}

type told struct {
	unknown bool // no answer came: it may have happened, now or later, or not
	found   bool // the key was there
	id      string
	off     bool // of get: it is disabled
}

// registered is the sequential registry of one key. A key that is deleted and added again has another id.
type registered struct {
	id  string // empty: there is no key; someID: there is one, and nobody has seen its id
	off bool
}

const someID = "?"

// registryModel judges histories of the registry. What is unknown may have happened or not, at any time after it was asked.
var registryModel = func() porcupine.Model {
	model := porcupine.NondeterministicModel{
		Partition: byKey,
		Init:      func() []any { return []any{registered{}} },
		Step: func(state, input, output any) []any {
			s, in, out := state.(registered), input.(asked), output.(told)
			if out.unknown {
				return []any{s, s.after(in, someID)}
			}
			return s.step(in, out)
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
	}
	return model.ToModel()
}()

// after is the state once this has happened.
func (s registered) after(in asked, id string) registered {
	switch {
	case in.what == "add" && s.id == "":
		return registered{id: id}
	case in.what == "delete":
		return registered{}
	case s.id == "":
		return s
	case in.what == "disable":
		s.off = true
	case in.what == "enable":
		s.off = false
	}
	return s
}

// step answers the states that this answer leaves possible; none: it is wrong.
func (s registered) step(in asked, out told) []any {
	there := s.id != ""
	switch in.what {
	case "add": // found: the same key was there before
		if out.found != there {
			return nil
		}
		if there && s.id != someID && s.id != out.id {
			return nil
		}
		return []any{registered{id: out.id, off: there && s.off}}
	case "get":
		if s.id == someID {
			if out.found && out.off == s.off {
				return []any{registered{id: in.id, off: s.off}}
			}
			if out.found {
				return nil
			}
			return []any{s} // it asked for an earlier one
		}
		if out.found != (s.id == in.id) || out.found && out.off != s.off {
			return nil
		}
		return []any{s}
	default:
		if out.found != there {
			return nil
		}
		return []any{s.after(in, "")}
	}
}

func byKey(history []porcupine.Operation) [][]porcupine.Operation {
	parts := map[string][]porcupine.Operation{}
	for _, op := range history {
		key := op.Input.(asked).secret
		parts[key] = append(parts[key], op)
	}
	list := make([][]porcupine.Operation, 0, len(parts))
	for _, p := range parts {
		list = append(list, p)
	}
	return list
}

// judgeRegistry answers what is wrong with a history; empty: somebody who did one thing after the other could have had it.
func judgeRegistry(history []porcupine.Operation) string {
	for _, part := range byKey(history) {
		switch porcupine.CheckOperationsTimeout(registryModel, part, 30*time.Second) {
		case porcupine.Ok:
		case porcupine.Illegal:
			var text strings.Builder
			for _, op := range part {
				in := op.Input.(asked)
				in.secret = "…" + in.secret[len(in.secret)-4:]
				fmt.Fprintf(&text, "  client %d, %d to %d µs: %+v → %+v\n", op.ClientId, op.Call/1000, op.Return/1000, in, op.Output)
			}
			return "no order of these explains the answers:\n" + text.String()
		default:
			return fmt.Sprintf("no verdict on %d operations in 30 s", len(part))
		}
	}
	return ""
}

func TestTheJudgeOfTheRegistry(t *testing.T) {
	const key = "sk-0001"
	op := func(from, to int64, what, id string, out told) porcupine.Operation {
		if out.unknown {
			to = math.MaxInt64
		}
		return porcupine.Operation{Input: asked{what, key, id}, Call: from, Return: to, Output: out}
	}
	type history = []porcupine.Operation
	added := op(0, 1, "add", "", told{id: "k1"})
	unknown := told{unknown: true}
	for _, row := range []struct {
		name string
		ops  history
		good bool
	}{
		{"a life in order", history{
			added, op(2, 3, "get", "k1", told{found: true}), op(4, 5, "disable", "", told{found: true}),
			op(6, 7, "get", "k1", told{found: true, off: true}), op(8, 9, "delete", "", told{found: true}), op(10, 11, "get", "k1", told{}),
		}, true},
		{"a get that shows a deleted key", history{added, op(2, 3, "delete", "", told{found: true}), op(4, 5, "get", "k1", told{found: true})}, false},
		{"an added key that is not there", history{added, op(2, 3, "get", "k1", told{})}, false},
		{"a disable that is forgotten", history{added, op(2, 3, "disable", "", told{found: true}), op(4, 5, "get", "k1", told{found: true})}, false},
		{"a key that was added twice", history{added, op(2, 3, "add", "", told{id: "k2"})}, false},
		{"a key that changes its id", history{added, op(2, 3, "add", "", told{found: true, id: "k2"})}, false},
		{"a delete of what is not there", history{op(0, 1, "delete", "", told{found: true})}, false},
		{"a get during the delete, either way", history{added, op(2, 9, "delete", "", told{found: true}), op(3, 4, "get", "k1", told{found: true}), op(5, 6, "get", "k1", told{})}, true},
		{"a get during the delete, and back", history{added, op(2, 9, "delete", "", told{found: true}), op(3, 4, "get", "k1", told{}), op(5, 6, "get", "k1", told{found: true})}, false},
		{"a delete without an answer that happened", history{added, op(2, 0, "delete", "", unknown), op(5, 6, "get", "k1", told{})}, true},
		{"a delete without an answer that did not", history{added, op(2, 0, "delete", "", unknown), op(5, 6, "get", "k1", told{found: true})}, true},
		{"a delete without an answer that happened later", history{
			added, op(2, 0, "delete", "", unknown), op(5, 6, "get", "k1", told{found: true}), op(7, 8, "get", "k1", told{}),
		}, true},
		{"a delete without an answer that was undone", history{
			added, op(2, 0, "delete", "", unknown), op(5, 6, "get", "k1", told{}), op(7, 8, "get", "k1", told{found: true}),
		}, false},
		{"an add without an answer that happened", history{op(0, 0, "add", "", unknown), op(2, 3, "add", "", told{found: true, id: "k1"}), op(4, 5, "get", "k1", told{found: true})}, true},
		{"an add without an answer, half of it", history{op(0, 0, "add", "", unknown), op(2, 3, "disable", "", told{found: true}), op(4, 5, "add", "", told{id: "k1"})}, false},
	} {
		if verdict := judgeRegistry(row.ops); (verdict == "") != row.good {
			t.Errorf("%s: good %v, want %v\n%s", row.name, verdict == "", row.good, verdict)
		}
	}
}
