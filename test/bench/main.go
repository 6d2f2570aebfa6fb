// Command bench is what `make bench` runs: it measures our data plane, with its control plane and everything that a user has
// switched on, beside proxies that do nothing but forward, all as real processes on loopback and in turn.
//
// The proxy under test has a core for itself; load, upstream and control plane share another. What a proxy needs is told by the
// kernel (/proc); a latency at a fixed rate counts from when the request was to begin. On a shared machine no figure is worth
// much by itself: trust the ratios within a round. Every answer is compared byte by byte, and a wrong one fails the run; no
// figure ever does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := run(ctx, os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == serving {
		return serve(ctx, args[1:])
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	return measure(ctx, o, os.Stdout, os.Stderr)
}

// options are what is measured, and how long.
type options struct {
	bin     string
	rounds  int
	lasts   time.Duration // each measurement
	points  []string      // empty: all
	conns   int
	keys    []int // of the pools that are saturated, in rising order
	pool    int   // keys of the pool at all other points
	json    string
	profile string // folder; empty: none are taken
}

func parse(args []string) (options, error) {
	o := options{keys: []int{1, 1000, 100_000}}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&o.bin, "bin", "bin", "`folder` of controlplane and dataplane")
	fs.IntVar(&o.rounds, "rounds", 3, "how often everything is measured")
	seconds := fs.Float64("seconds", 3, "how long a measurement takes")
	fs.IntVar(&o.conns, "connections", 64, "how many clients there are")
	fs.IntVar(&o.pool, "pool", 1000, "keys of the pool where their number does not matter")
	fs.StringVar(&o.json, "json", "", "`file` for all figures (default bench.json in the folder of binaries)")
	fs.StringVar(&o.profile, "profile", "", "`folder` for CPU profiles of the saturated data planes")
	fs.Func("points", "names of what is to be measured, with commas between (default all)", func(text string) error {
		o.points = strings.Split(text, ",")
		return nil
	})
	fs.Func("keys", "numbers of keys of the pools that are saturated (default 1,1000,100000)", func(text string) (err error) {
		o.keys, err = numbers(text)
		return err
	})
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	o.lasts = time.Duration(*seconds * float64(time.Second))
	if o.json == "" {
		o.json = filepath.Join(o.bin, "bench.json")
	}
	switch {
	case fs.NArg() > 0:
		return o, fmt.Errorf("%q is no flag", fs.Arg(0))
	case o.rounds < 1 || o.lasts < 100*time.Millisecond || o.conns < 1 || o.pool < 1:
		return o, errors.New("needs a round, a tenth of a second, a connection and a key at least")
	}
	return o, nil
}

func numbers(text string) ([]int, error) {
	var all []int
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is no number of keys", word)
		}
		all = append(all, n)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// chosen answers the points that are to be measured, in their usual order.
func (o options) chosen() ([]point, error) {
	all := o.all()
	if len(o.points) == 0 {
		return all, nil
	}
	for _, name := range o.points {
		if !slices.ContainsFunc(all, func(p point) bool { return p.name == name }) {
			return nil, fmt.Errorf("there is no point %q", name)
		}
	}
	return slices.DeleteFunc(all, func(p point) bool { return !slices.Contains(o.points, p.name) }), nil
}

// measure does it all. What was started is stopped whatever happens.
func measure(ctx context.Context, o options, out, progress io.Writer) error {
	points, err := o.chosen()
	if err != nil {
		return err
	}
	b, err := openBench(ctx, o, progress)
	if err != nil {
		return err
	}
	defer b.close()
	all, err := b.run(ctx, points)
	if err != nil {
		return err
	}
	r := b.report(ctx, points, all)
	r.table(out, points)
	if err := r.write(o.json); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nAll figures: %s\n", o.json)
	if o.profile != "" {
		return b.profiles(ctx)
	}
	return nil
}
