package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// fault is where and how a body is not what it ought to be. It never holds a value: that may be a secret.
type fault struct {
	field        string // path in lowerCamelCase; empty: the body as a whole
	what         string
	line, column int // from 1
}

func (f *fault) String() string {
	if f.field == "" {
		return fmt.Sprintf("%s (line %d, column %d)", f.what, f.line, f.column)
	}
	return fmt.Sprintf("%s: %s (line %d, column %d)", f.field, f.what, f.line, f.column)
}

// checkJSON says whether the data is one JSON object that fits the message. It is stricter than proto3 JSON: numbers are
// numbers, and no field is given twice.
func checkJSON(data []byte, md protoreflect.MessageDescriptor) *fault {
	c := &checker{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	if !utf8.Valid(data) {
		return c.fault("", "the body is not UTF-8", 0)
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		at := len(data)
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = int(e.Offset) - 1
		}
		return c.fault("", "the body is not JSON from here on", at)
	}
	c.dec.UseNumber()
	return c.message("", md)
}

// checker walks JSON that is known to be well formed. So no token can fail.
type checker struct {
	data []byte
	dec  *json.Decoder
}

func (c *checker) fault(field, what string, at int) *fault {
	before := c.data[:min(max(at, 0), len(c.data))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return &fault{field: field, what: what, line: line, column: column}
}

// next answers the next token and where it begins.
func (c *checker) next() (json.Token, int) {
	at := int(c.dec.InputOffset())
	for at < len(c.data) && bytes.IndexByte([]byte(" \t\r\n:,"), c.data[at]) >= 0 {
		at++
	}
	token, _ := c.dec.Token()
	return token, at
}

func (c *checker) message(path string, md protoreflect.MessageDescriptor) *fault {
	token, at := c.next()
	if token != json.Delim('{') {
		return c.fault(path, "must be an object", at)
	}
	return c.fields(path, md)
}

// fields checks what follows the opening brace.
func (c *checker) fields(path string, md protoreflect.MessageDescriptor) *fault {
	seen := map[protoreflect.FieldNumber]bool{}
	for c.dec.More() {
		token, at := c.next()
		name, _ := token.(string)
		field := md.Fields().ByJSONName(name)
		if field == nil {
			field = md.Fields().ByName(protoreflect.Name(name))
		}
		if field == nil {
			return c.fault(join(path, nameable(name)), "unknown field", at)
		}
		if seen[field.Number()] {
			return c.fault(join(path, field.JSONName()), "given twice", at)
		}
		seen[field.Number()] = true
		if f := c.field(join(path, field.JSONName()), field); f != nil {
			return f
		}
	}
	c.next() // the closing brace
	return nil
}

func (c *checker) field(path string, field protoreflect.FieldDescriptor) *fault {
	token, at := c.next()
	switch {
	case token == nil:
		return nil // null: absent, or in a PATCH, cleared
	case field.IsMap():
		return c.stringMap(path, token, at)
	case field.IsList():
		return c.list(path, field, token, at)
	default:
		return c.value(path, field, token, at)
	}
}

func (c *checker) list(path string, field protoreflect.FieldDescriptor, token json.Token, at int) *fault {
	if token != json.Delim('[') {
		return c.fault(path, "must be a list", at)
	}
	for i := 0; c.dec.More(); i++ {
		item, at := c.next()
		if f := c.value(fmt.Sprintf("%s[%d]", path, i), field, item, at); f != nil {
			return f
		}
	}
	c.next() // the closing bracket
	return nil
}

func (c *checker) stringMap(path string, token json.Token, at int) *fault {
	if token != json.Delim('{') {
		return c.fault(path, "must be an object", at)
	}
	seen := map[string]bool{}
	for c.dec.More() {
		token, at := c.next()
		name, _ := token.(string)
		if seen[name] {
			return c.fault(path, "holds a name twice", at)
		}
		seen[name] = true
		value, at := c.next()
		if _, ok := value.(string); !ok {
			return c.fault(path, "must hold texts only", at)
		}
	}
	c.next() // the closing brace
	return nil
}

func (c *checker) value(path string, field protoreflect.FieldDescriptor, token json.Token, at int) *fault {
	what := ""
	switch field.Kind() { //nolint:exhaustive // a test fails when a body has a field of a kind that is not here
	case protoreflect.StringKind:
		if _, ok := token.(string); !ok {
			what = "must be a text"
		}
	case protoreflect.BoolKind:
		if _, ok := token.(bool); !ok {
			what = "must be true or false"
		}
	case protoreflect.Int32Kind:
		if !isInt32(token) {
			what = "must be a whole number"
		}
	case protoreflect.DoubleKind:
		if !isDouble(token) {
			what = "must be a number"
		}
	case protoreflect.MessageKind:
		return c.nested(path, field.Message(), token, at)
	default:
		what = "cannot be given"
	}
	if what == "" {
		return nil
	}
	return c.fault(path, what, at)
}

func (c *checker) nested(path string, md protoreflect.MessageDescriptor, token json.Token, at int) *fault {
	if md.FullName() == "google.protobuf.Timestamp" {
		text, _ := token.(string)
		if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
			return c.fault(path, "must be a time like 2006-01-02T15:04:05Z", at)
		}
		return nil
	}
	if token != json.Delim('{') {
		return c.fault(path, "must be an object", at)
	}
	return c.fields(path, md)
}

func isInt32(token json.Token) bool {
	n, ok := token.(json.Number)
	if !ok {
		return false
	}
	if _, err := strconv.ParseInt(n.String(), 10, 32); err == nil {
		return true
	}
	f, err := n.Float64() // 5.0 and 5e0 are whole numbers too
	return err == nil && f == float64(int32(f))
}

func isDouble(token json.Token) bool {
	n, ok := token.(json.Number)
	if !ok {
		return false
	}
	_, err := n.Float64()
	return err == nil
}

func join(path, name string) string {
	if path == "" || name == "" {
		return path + name
	}
	return path + "." + name
}

// stringField answers a text at the top of a JSON object.
func stringField(data []byte, name string) (value string, ok bool) {
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) != nil {
		return "", false
	}
	raw, ok := object[name]
	if !ok || json.Unmarshal(raw, &value) != nil {
		return "", false
	}
	return value, string(raw) != "null"
}
