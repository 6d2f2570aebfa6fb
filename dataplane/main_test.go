package main

import (
	"io"
	"log"
	"testing"
)

// What net/http tells the standard logger holds words of upstreams as they came, and those may be anything.
func TestTheStandardLoggerSaysNothing(t *testing.T) {
	before := log.Writer()
	defer log.SetOutput(before)
	command()
	if log.Writer() != io.Discard {
		t.Error("whatever an upstream sends out of turn would be logged")
	}
}
