package fakellm

import (
	"fmt"
	"slices"
	"strings"
)

// notKept is a violation in itself: a judge that sees nothing must not acquit.
const notKept = " has no headers to judge: set Config.KeepHeaders"

// Carried finds requests with a text in a header or in the query, such as a
// client's token. Bodies are not searched: they are the client's own.
func Carried(entries []Entry, text string) []string {
	var found []string
	for _, e := range inOrder(entries) {
		if e.Headers == nil {
			found = append(found, e.describe()+notKept)
			continue
		}
		for name, values := range e.Headers {
			if slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, text) }) {
				found = append(found, fmt.Sprintf("%s carried the text in header %s", e.describe(), name))
			}
		}
		if strings.Contains(e.Query, text) {
			found = append(found, e.describe()+" carried the text in its query")
		}
	}
	return found
}

// SentHeader finds requests that had any of the named headers, such as Cookie.
func SentHeader(entries []Entry, names ...string) []string {
	var found []string
	for _, e := range inOrder(entries) {
		if e.Headers == nil {
			found = append(found, e.describe()+notKept)
			continue
		}
		for _, name := range names {
			if len(e.Headers.Values(name)) > 0 {
				found = append(found, fmt.Sprintf("%s had the header %s", e.describe(), name))
			}
		}
	}
	return found
}
