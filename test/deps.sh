#!/usr/bin/env bash
# Installs what the fullest tests need beside Go: a C compiler for the race detector, Node.js with the npm clients, promtool,
# Ollama's library for Go. With Go alone `make test` passes too; it then says what it left out. `test/deps.sh bench` also installs
# the nginx that `make bench` compares with.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
command -v gcc >/dev/null || packages+=(gcc libc6-dev)
command -v curl >/dev/null || packages+=(curl)
command -v node >/dev/null || packages+=(nodejs npm)
command -v promtool >/dev/null || packages+=(prometheus)
[ "${1:-}" != bench ] || [ -x /usr/sbin/nginx ] || packages+=(nginx-light)
if [ ${#packages[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "This script knows Debian's packages only; install by hand: ${packages[*]}" >&2
    exit 1
  fi
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  if [[ " ${packages[*]} " == *" nginx-light "* ]] && command -v systemctl >/dev/null; then
    $sudo systemctl mask nginx.service || true # the program is wanted, not a server on port 80
  fi
  $sudo apt-get update -q
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -yq --no-install-recommends "${packages[@]}"
fi
(cd test/clients && npm ci --no-audit --no-fund)
go mod download
(cd test/clients/go && go build -o /dev/null .) # fetches what it needs of its hundred modules
