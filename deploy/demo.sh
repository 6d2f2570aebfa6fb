#!/usr/bin/env bash
# Shows failover, as `make demo` promises: a control plane, two data planes, and bin/demo, which is the pretend upstream, its
# clients and the voice. Ctrl-C stops all of it. DEMO_SECONDS ends it by itself (exit code 1: it did not show what it should),
# DEMO_PORT_BASE moves its six ports, DEMO_DIR its folder, DEMO_BIN says where the binaries are.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/lib.sh
unset ${!APIPOOL_@} # what this shell knows of another pool would reach the planes

bin=${DEMO_BIN:-bin} data=${DEMO_DIR:-data/demo${DEMO_PORT_BASE:+-$DEMO_PORT_BASE}}
log=$data/demo.log
ports=(7600 7601 8080 8081 8082 8083) # the first three are those of `make run`
if [ -n "${DEMO_PORT_BASE:-}" ]; then
  for i in "${!ports[@]}"; do ports[i]=$((DEMO_PORT_BASE + i)); done
fi
roles=("the control plane (for data planes)" "the control plane (admin API)" "eu-west-1 (clients)" "eu-west-1 (metrics)"
  "us-east-1 (clients)" "us-east-1 (metrics)")

holder() { # port: who listens there, as far as this machine tells
  local pid=
  pid=$(lsof -nPt -iTCP:"$1" -sTCP:LISTEN 2>/dev/null | head -n 1) || true
  [ -n "$pid" ] || pid=$(ss -ltnpH "sport = :$1" 2>/dev/null | sed -nE 's/.*pid=([0-9]+).*/\1/p' | head -n 1) || true
  if [ -n "$pid" ]; then echo "process $pid ($(ps -o comm= -p "$pid" || true))"; else echo "a process that is not shown to you"; fi
}

taken=0
for i in "${!ports[@]}"; do
  if (exec 3<>"/dev/tcp/127.0.0.1/${ports[i]}") 2>/dev/null; then
    taken=1
    echo "Port ${ports[i]}, which is for ${roles[i]}, is taken by $(holder "${ports[i]}")." >&2
  fi
done
if [ "$taken" = 1 ]; then
  echo "Nothing was started. Stop what holds it (\`make run\`, or another demo: Ctrl-C there), or use six other ports:" >&2
  echo "  DEMO_PORT_BASE=17600 make demo" >&2
  exit 1
fi

# Each demo begins anew. What it removes is what a demo has made, and nothing else: the mark is the first thing in the folder,
# and stays.
mark=$data/.demo
mkdir -p "$data"
if [ ! -f "$mark" ] && [ -n "$(ls -A "$data")" ]; then
  echo "$data was not made by a demo, so it is left alone: move it away, or name another folder with DEMO_DIR." >&2
  exit 1
fi
if [ -s "$mark" ] && [[ $(ps -o args= -p "$(cat "$mark")" 2>/dev/null || true) == *demo.sh* ]]; then
  echo "A demo is running in $data (process $(cat "$mark")): stop it, or name another folder with DEMO_DIR." >&2
  exit 1
fi
echo $$ >"$mark"
find "$data" -mindepth 1 -maxdepth 1 ! -name .demo -exec rm -rf {} +

node=127.0.0.1:${ports[0]} admin=127.0.0.1:${ports[1]}

control() { # also starts it again
  start "$bin/controlplane" serve --dev --data-dir "$data/controlplane" --node-listen "$node" --admin-listen "$admin" >>"$log" 2>&1
  pids[0]=$!
  echo $! >"$data/controlplane.pid"
  up "control plane" $! "http://$admin/readyz"
}

serve() { # name, region, address for clients, address for metrics
  APIPOOL_JOIN_TOKEN_FILE=$data/controlplane/join-token \
    start "$bin/dataplane" --data-dir "$data/$1" --node-id "$1" --region "$2" --control-plane "$node" --listen "$3" --ops-listen "$4" \
    --expose-route-headers --drain-timeout 10s >>"$log" 2>&1
  pids+=($!)
  echo $! >"$data/$1.pid"
  up "data plane $1" $! "http://$4/readyz"
}

control
eu=127.0.0.1:${ports[2]},127.0.0.1:${ports[3]} us=127.0.0.1:${ports[4]},127.0.0.1:${ports[5]}
serve eu-west-1 eu-west "${eu%,*}" "${eu#*,}"
serve us-east-1 us-east "${us%,*}" "${us#*,}"
start "$bin/demo" --admin "$admin" --data-plane "eu-west,$eu" --data-plane "us-east,$us" --dir "$data" --seconds "${DEMO_SECONDS:-0}"
demo=$!
pids+=("$demo")
echo "$demo" >"$data/traffic.pid"

while kill -0 "$demo" 2>/dev/null; do
  wait -n "${pids[@]}" 2>/dev/null || true # its word for a kill -9 is not for the terminal
  for pid in "${pids[1]}" "${pids[2]}"; do
    kill -0 "$pid" 2>/dev/null && continue
    echo "A data plane has stopped. The end of $log:" >&2
    tail -n 5 "$log" >&2
    exit 1
  done
  kill -0 "${pids[0]}" 2>/dev/null && continue
  for _ in $(seq 25); do sleep 0.2; done # long enough to see that requests go on without it
  control
done
code=0
wait "$demo" || code=$?
exit "$code"
