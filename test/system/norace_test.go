//go:build !race

package system

// watchesRaces says whether the tests were built with the race detector.
const watchesRaces = false
