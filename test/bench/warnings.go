package main

import "fmt"

const (
	lightLoad = 1. / 3 // of a core, at loads that are the same for every proxy
	quiet     = 0.1    // of a core, for all that has no part in this
)

// warnings say what makes figures doubtful. A load that saturates is meant to take what it can.
func warnings(points []point, all results) []string {
	var found []string
	for _, p := range points {
		var strangers []float64
		for _, name := range p.subjects {
			strangers = append(strangers, all.values(p.name, name, others.name)...)
			values := all.values(p.name, name, loadCores.name)
			if p.fixed && len(values) > 0 && median(values) > lightLoad {
				found = append(found, fmt.Sprintf("%s, %s: the load took %.2f of a core, more than a third: latencies are not to be trusted",
					p.name, name, median(values)))
			}
		}
		if len(strangers) > 0 && median(strangers) > quiet {
			found = append(found, fmt.Sprintf("%s: other processes took %.2f of a core (at most %.2f): the machine was not quiet",
				p.name, median(strangers), spreadOf(strangers).Max))
		}
	}
	return found
}
