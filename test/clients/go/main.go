// Command go is Ollama's own library for Go in front of the pool: the counterpart of the scripts beside it, with the same
// settings (see pool.mjs) and the same lines of output. It is a module of its own, because the library's module is the whole
// of Ollama, with a hundred others behind it, which nobody should have to fetch who builds or tests the pool.
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/ollama/ollama/api"
)

func main() {
	if !run() {
		os.Exit(1)
	}
}

// run tells of each case whether it holds, and answers whether all do.
func run() (all bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 45*time.Second)
	defer cancel()
	nodes := strings.Fields(os.Getenv("POOL_NODES"))
	one, other := at(nodes[0]), at(nodes[1])
	all = true
	for _, c := range cases {
		if err := c.holds(ctx, one, other); err != nil {
			all = false
			fmt.Fprintln(os.Stdout, "not ok", c.name)
			fmt.Fprintf(os.Stderr, "%s: %v\n", c.name, err)
			continue
		}
		fmt.Fprintln(os.Stdout, "ok", c.name)
	}
	return all
}

// library is the library in front of one node.
type library struct {
	*api.Client
	via *via
}

func at(node string) library {
	base, err := url.Parse(node)
	if err != nil {
		panic(err) // the tests know their own addresses
	}
	v := &via{token: os.Getenv("POOL_TOKEN")}
	return library{api.NewClient(base, &http.Client{Transport: v}), v}
}

// model is the name of what happens to a request.
func model(scene string) string { return os.Getenv("POOL_CLIENT") + "/" + scene }
