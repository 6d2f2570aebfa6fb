# What run.sh and demo.sh share: starting planes on loopback, and stopping them in order. To be sourced; `log` is the caller's.

pids=() # in the order they were started
stop() { # the last one first: a data plane gives its lease back
  trap - EXIT
  trap 'kill -KILL "${pids[@]}" 2>/dev/null' INT TERM # told twice: at once, but still leaving no process
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    kill -TERM "${pids[i]}" 2>/dev/null || true
    wait "${pids[i]}" 2>/dev/null || true
  done
}
trap stop EXIT
trap 'stop; exit 0' INT TERM

start() { # command: in the background and in a process group of its own: Ctrl-C reaches the script only, which stops all in order
  set -m
  "$@" &
  set +m # what runs in the foreground must not keep Ctrl-C for itself
}

up() { # name, pid, url: waits until the url answers 200
  for _ in $(seq 200); do
    curl -fsS -o /dev/null "$3" 2>/dev/null && return
    kill -0 "$2" 2>/dev/null || break
    sleep 0.1
  done
  echo "The $1 did not come up. The end of $log:" >&2
  tail -n 5 "$log" >&2
  exit 1
}
