package main

import (
	"context"
	"fmt"
	"slices"
)

// point is one thing that is measured of several subjects, one after the other.
type point struct {
	name     string
	title    string
	subjects []string
	metrics  []metric
	fixed    bool // its load does not depend on the proxy, so that the load's own need can be judged
	files    int  // that a process may have open for it
	measure  func(context.Context, *bench, *subject) (figures, error)
}

// metric is one column.
type metric struct {
	name   string
	title  string
	digits int
	ratio  bool   // also told as a multiple of the bare proxy's
	added  string // what is told is by how much this metric exceeds that of the upstream asked directly
}

var (
	cpu        = metric{name: "cpu", title: "CPU-s per 10,000 requests", digits: 3, ratio: true}
	control    = metric{name: "control_cpu", title: "control plane's", digits: 3}
	proxyCores = metric{name: "proxy_cores", title: "proxy, cores", digits: 2}
	loadCores  = metric{name: "load_cores", title: "load, cores", digits: 2}
	others     = metric{name: "others_cores", title: "others, cores", digits: 2}
	upCores    = metric{name: "upstream_cores", title: "upstream, cores", digits: 2}
	p50        = metric{name: "p50", title: "p50 ms", digits: 3}
	p99        = metric{name: "p99", title: "p99 ms", digits: 2}
	perKey     = metric{name: "key", title: "bytes per key"}
	first      = metric{name: "first_p50", title: "first byte p50 ms", digits: 3}
)

func per(unit string) metric {
	m := cpu
	m.title = "CPU-s per 10,000 " + unit
	return m
}

func added(m metric) metric {
	return metric{name: m.name + "_added", title: "added " + m.title, digits: m.digits, added: m.name}
}

// most is how many keys the largest pool has.
func (o options) most() int { return o.keys[len(o.keys)-1] }

// all answers every point that can be measured. A pool of the usual size is in all; how the number of keys tells is shown where the
// proxy has most to do, and at rest.
func (o options) all() []point {
	usual, most := poolName(o.pool), poolName(o.most())
	all := []string{direct, nginx, hand, reverse, usual}
	saturated := []string{direct, nginx, hand, reverse}
	for _, n := range o.keys {
		saturated = append(saturated, poolName(n))
	}
	proxies := all[1:]
	list := []point{{
		name: "saturated", title: fmt.Sprintf("Saturated: %d connections in a closed loop, answers of 1 KiB", o.conns), subjects: saturated,
		metrics: []metric{cpu, {name: "rate", title: "requests/s"}, p50, control, proxyCores, loadCores, upCores, others}, measure: saturate,
	}}
	for _, rate := range []int{500, 2000} {
		list = append(list, point{
			name: fmt.Sprintf("rate%d", rate), title: fmt.Sprintf("Open loop: %d requests/s, answers of 1 KiB", rate), subjects: all,
			metrics: []metric{cpu, p50, added(p50), p99, added(p99), loadCores, others}, fixed: true, measure: pace(rate),
		})
	}
	list = append(list, point{
		name: "streams", title: fmt.Sprintf("Streams: %d at a time, of 100 events 10 ms apart", o.conns), subjects: all,
		metrics: []metric{per("events"), first, added(first), loadCores, upCores, others}, fixed: true, measure: streams,
	}, point{
		name: "starts", title: "Streams begun: 100 per second, of 20 events 10 ms apart", subjects: all,
		metrics: []metric{per("streams"), first, added(first), {name: "first_p99", title: "p99 ms", digits: 2}, loadCores, others}, fixed: true, measure: begin,
	})
	for _, n := range []int{1000, 5000} {
		list = append(list, point{
			name: fmt.Sprintf("idle%d", n), title: fmt.Sprintf("Idle streams: %d", n), subjects: proxies, files: 2*n + 500,
			metrics: []metric{{name: "stream", title: "KiB per stream", digits: 1, ratio: true}, {name: "rss", title: "RSS MiB", digits: 1}},
			measure: idle(n),
		})
	}
	return append(list, point{
		name: "rest", title: "Data plane at rest", subjects: []string{poolName(0), most},
		metrics: []metric{{name: "rss", title: "RSS MiB", digits: 1}, perKey}, measure: rest,
	}, point{
		name: "start", title: "Start of the process to the first answer", subjects: slices.Compact([]string{hand, usual, most}),
		metrics: []metric{{name: "start", title: "ms"}}, measure: begun,
	})
}
