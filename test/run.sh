#!/usr/bin/env bash
# Runs the tests: all that fit ten minutes, with `faults` the longer suites, with `fuzz` the fuzz targets. What this machine lacks is named and left out.
set -euo pipefail
cd "$(dirname "$0")/.."

left_out=()
race=()
if command -v gcc >/dev/null; then
  export CGO_ENABLED=1
  race=(-race)
else
  left_out+=("the race detector (no C compiler: make deps)")
fi
command -v node >/dev/null && [ -d test/clients/node_modules ] || left_out+=("the npm clients (make deps)")
(cd test/clients/go && GOPROXY=off go list -deps . &>/dev/null) || left_out+=("Ollama's library for Go (make deps)")
command -v curl >/dev/null || left_out+=("the curl scripts (make deps)")
command -v promtool >/dev/null || left_out+=("promtool's check of the metrics (make deps)")

case ${1:-all} in
all)
  go test "${race[@]}" -timeout 14m ./...
  ;;
faults)
  APIPOOL_TEST_FAULTS=1 go test -timeout 25m -count=1 -run 'Process|Random' ./test/system
  # and once more what strains the planes most, with binaries that watch for races
  [ ${#race[@]} -eq 0 ] || APIPOOL_TEST_FAULTS=1 go test "${race[@]}" -timeout 15m -count=1 \
    -run 'Process(Failover|Disable|NodeStops|Clients|Requests|AFlood|Descriptors|LittleMemory|ManySlow|Poisoned|NodeStands|KeyDisabled)' ./test/system
  ;;
fuzz) # each fuzz target of the tree for a minute, one after the other; it looks for what nobody has seen, so it is no gate
  grep -rlE '^func Fuzz' --include='*_test.go' controlplane dataplane test | xargs -n1 dirname | sort -u | while read -r dir; do
    grep -hoE '^func (Fuzz[A-Za-z0-9_]+)' "$dir"/*_test.go | cut -d' ' -f2 | while read -r target; do
      go test "./$dir" -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-60s}"
    done
  done
  ;;
*)
  echo "usage: test/run.sh [all|faults|fuzz]" >&2
  exit 2
  ;;
esac

for what in "${left_out[@]}"; do echo "left out: $what"; done
echo "${#left_out[@]} kinds of test were left out on this machine."
