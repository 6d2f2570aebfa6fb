#!/usr/bin/env bash
# Brings docker-compose.yml up for real: images are built, containers run, clients are answered, everything goes down and
# comes up again, and nothing is lost. See test/compose/story_test.go for what is looked at.
#
# Takes the docker engine that is there. Without one, and as root, it starts one of its own in namespaces of its own
# (network, mounts, processes): its bridges, rules, ports and images are nobody else's and vanish with it.
# Leaves no container, network, volume or image behind, also after a failure; of a build in an engine that was there, only
# that engine's build cache. Says why, if nothing can be done here.
set -euo pipefail
cd "$(dirname "$0")/.."

left_out() { echo "left out: docker-compose.yml for real ($*)" && exit 0; }

compose() { # how Compose is called here: v2 is a plugin, v1 a program
  if docker compose version >/dev/null 2>&1; then echo docker compose; elif command -v docker-compose; then :; else return 1; fi
}

# story runs the test against the engine that DOCKER_HOST names.
story() {
  local go_image prometheus_image
  go_image=$(sed -nE 's/^ARG GO_IMAGE=//p' deploy/Dockerfile)
  prometheus_image=$(sed -nE 's/^ +image: (prom\/prometheus:.+)/\1/p' docker-compose.yml)
  export COMPOSE_PROJECT_NAME=apipool-test-$$ COMPOSE_FILE=docker-compose.yml:test/compose/override.yml
  export APIPOOL_TEST_COMPOSE=${APIPOOL_TEST_COMPOSE:-$(compose)}
  made=$(mktemp)
  trap clean EXIT
  trap 'exit 130' INT TERM
  test/compose/standins.sh "$go_image" "$prometheus_image" >"$made" || {
    [ $? = 3 ] && left_out "$prometheus_image cannot be pulled, and no prometheus is here to stand in: make deps"
    exit 1
  }
  [ ! -s "$made" ] || echo "images made here: $(paste -sd' ' "$made")"
  go test -count=1 -timeout 20m -v -run Story ./test/compose
}

clean() { # what the test has cleaned up already is no error
  $APIPOOL_TEST_COMPOSE down -v --rmi local --remove-orphans -t 5 >/dev/null 2>&1 || true
  xargs -r docker rmi -f <"$made" >/dev/null 2>&1 || true
  rm -f "$made"
}

# private runs this script again in namespaces of its own. Whatever happens to it, they end with it.
private() {
  for tool in unshare ip iptables; do
    command -v $tool >/dev/null || left_out "no docker engine answers, and $tool is missing to start one"
  done
  go mod download
  dir=$(mktemp -d /var/tmp/apipool-compose-XXXXXX)
  trap 'rm -rf "$dir"; find /sys/fs/cgroup -depth -type d -path "*/apipool-compose*" -exec rmdir {} + 2>/dev/null || true' EXIT
  unshare --net --mount --pid --fork --kill-child --mount-proc test/compose.sh inside "$dir" &
  trap "kill -KILL $! 2>/dev/null; wait; exit 130" INT TERM
  wait $!
}

# inside is what private runs: an engine without a network beyond this machine, and the story.
inside() {
  local dir=$1 engine
  mount -t tmpfs tmpfs /run
  ip link set lo up
  export DOCKER_HOST=unix://$dir/socket DOCKER_CONFIG=$dir/config APIPOOL_TEST_OFFLINE=1
  dockerd -H "$DOCKER_HOST" --data-root "$dir/data" --exec-root /run/docker --pidfile "$dir/pid" \
    --cgroup-parent /apipool-compose >"$dir/log" 2>&1 &
  engine=$!
  until docker version >/dev/null 2>&1; do
    kill -0 $engine 2>/dev/null || left_out "the docker engine does not start: $(tail -n1 "$dir/log")"
    sleep 0.2
  done
  (story) && rc=0 || rc=$?
  kill $engine
  wait $engine || true
  rm -rf "$dir" # here too: whoever has started this may be gone
  exit $rc
}

if [ "${1:-}" = inside ]; then
  inside "$2"
fi
command -v docker >/dev/null || left_out "no docker: on Debian, apt-get install docker.io docker-compose"
[ -n "${APIPOOL_TEST_COMPOSE:-}" ] || compose >/dev/null || left_out "no docker-compose: on Debian, apt-get install docker-compose"
if docker version >/dev/null 2>&1; then
  story
elif [ "$(id -u)" = 0 ] && command -v dockerd >/dev/null; then
  private
else
  left_out "no docker engine answers, and only root can start one"
fi
