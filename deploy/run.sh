#!/usr/bin/env bash
# Starts a control plane and one data plane on loopback, as `make run` promises, and stops both on Ctrl-C.
# Everything is kept under data/; nothing is overwritten by a second start.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/lib.sh

admin=127.0.0.1:7601 api=127.0.0.1:8080 ops=127.0.0.1:8081 data=${APIPOOL_RUN_DIR:-data}
mkdir -p "$data"
log=$data/run.log
: >"$log"

start bin/controlplane serve --dev --data-dir "$data/controlplane" --admin-listen "$admin" >>"$log" 2>&1
pids+=($!)
up "control plane" $! "http://$admin/readyz"

APIPOOL_JOIN_TOKEN_FILE=$data/controlplane/join-token \
  start bin/dataplane --data-dir "$data/dataplane" --listen "$api" --ops-listen "$ops" --expose-route-headers >>"$log" 2>&1
pids+=($!)
up "data plane" $! "http://$ops/readyz"

cat <<TEXT

  Control plane   http://$admin      admin token: $(cat "$data/controlplane/admin-token")
  Data plane      http://$api/v1   region local
  Log             $log

  In another terminal, the first key, the first token, the first answer:

    export ADMIN_TOKEN=\$(cat $data/controlplane/admin-token)
    curl -s http://$admin/admin/api-keys -H "Authorization: Bearer \$ADMIN_TOKEN" --json '{"apiKey":"YOUR-OLLAMA-KEY"}'
    export TOKEN=\$(curl -s http://$admin/admin/tokens -H "Authorization: Bearer \$ADMIN_TOKEN" \\
      --json '{"name":"first"}' | sed -nE 's/.*"token":"([^"]+)".*/\1/p')
    curl -s http://$api/v1/chat/completions -H "Authorization: Bearer \$TOKEN" \\
      --json '{"model":"gpt-oss:20b","messages":[{"role":"user","content":"Hello"}]}'

  No key at hand? The README has a pretend upstream ("Without a key").
  Ctrl-C stops both. NOT SAFE FOR PRODUCTION: credentials lie in $data.

TEXT
wait -n "${pids[@]}" || true
echo "One of the two has stopped. The end of $log:" >&2
tail -n 5 "$log" >&2
exit 1
