#!/usr/bin/env bash
# Makes local stand-ins for base images that are not there and cannot be pulled, from what this machine has: Go with the
# modules that go.mod names, and Prometheus. The pretend upstream becomes an image too. Prints the name of each image made.
# Usage: standins.sh IMAGE-OF-GO IMAGE-OF-PROMETHEUS; exit code 3: this machine has not got what a stand-in is made of.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=

begin() { root=$work/$1 && mkdir -p "$root/tmp" && chmod 1777 "$root/tmp"; }

add() { # a program and where it goes, with the libraries it needs where the loader expects them
  install -D "$1" "$root$2"
  while read -r library; do
    install -D "$library" "$root$library"
  done < <(ldd "$1" 2>/dev/null | grep -oE '/[^ ]+' || true)
}

finish() { # name, owner of all files, and what docker import is to note
  local name=$1 owner=$2
  shift 2
  tar -C "$root" --owner="$owner" --group="$owner" --numeric-owner -c . |
    docker import --change "LABEL apipool.stand-in=true" "$@" - "$name" >/dev/null
  rm -rf "$root"
  echo "$name"
}

missing() {
  ! docker image inspect "$1" >/dev/null 2>&1 &&
    { [ -n "${APIPOOL_TEST_OFFLINE:-}" ] || ! timeout 300 docker pull -q "$1" >/dev/null 2>&1; }
}

if missing "$1"; then
  begin go
  for program in sh mkdir chmod; do add "$(command -v $program)" "/bin/$program"; done
  install -D /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  mkdir -p "$root/usr/local/go"
  tar -C "$(go env GOROOT)" --exclude=./test --exclude=./doc --exclude=./api -c . | tar -C "$root/usr/local/go" -x
  modules=$(go env GOMODCACHE)/cache/download # of this machine, and nothing from elsewhere
  GOMODCACHE=$root/go/pkg/mod GOPROXY=file://$modules GOSUMDB=off GOFLAGS=-modcacherw go mod download
  finish "$1" 0 --change "ENV PATH=/usr/local/go/bin:/bin" --change "ENV GOPATH=/go" --change "ENV GOPROXY=off" \
    --change "ENV GOTOOLCHAIN=local"
fi

if missing "$2"; then
  command -v prometheus >/dev/null && command -v promtool >/dev/null || exit 3
  begin prometheus
  add "$(command -v prometheus)" /bin/prometheus
  add "$(command -v promtool)" /bin/promtool
  mkdir -p "$root/prometheus" "$root/etc/prometheus"
  finish "$2" 65534 --change 'ENTRYPOINT ["/bin/prometheus"]' --change "USER 65534"
fi

begin fakellm
CGO_ENABLED=0 go build -o "$root/fakellm" ./test/fakellm/cmd
finish apipool-test-fakellm:local 0 --change 'ENTRYPOINT ["/fakellm"]'
