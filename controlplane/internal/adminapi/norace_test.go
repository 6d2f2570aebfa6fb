//go:build !race

package adminapi_test

// raced says whether the race detector watches, under which everything takes five times as long.
const raced = false
