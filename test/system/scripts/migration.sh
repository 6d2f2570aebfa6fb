#!/usr/bin/env bash
# What somebody does who comes from the former system: his own curl lines against every endpoint that it had, with what he
# gets right and what he gets wrong. It needs bash and curl, and reads:
#
#   ADMIN        the control plane, such as http://127.0.0.1:7601; its public statistics are switched off
#   POOL         a data plane, such as http://127.0.0.1:8080
#   ADMIN_TOKEN  the admin token
#   ANSWERS      an empty folder, where all answers are kept
#
# The upstreams know the keys ollama-canary-good-key-00NN and sk-or-canary-good-key-00NN (NN from 01 to 30) and no others. All keys
# and all wrong values hold the word canary, and no answer may hold it. What fails is told, and the rest is tried.
set -uo pipefail

body=$ANSWERS/body headers=$ANSWERS/headers all=$ANSWERS/all
: >"$all"
checks=0 failed=0
keys=$ADMIN/admin/api-keys ops=$ADMIN/admin/keys tokens=$ADMIN/admin/tokens
token=$ADMIN_TOKEN    # `token=x want …` asks as somebody else; empty: as nobody
type=application/json # `type=x want …` says that the body is something else
secret=               # `secret=1 want …`: the one answer that shows a secret, which is not kept

ko() {
  failed=$((failed + 1))
  echo "line ${BASH_LINENO[1]}: $1: $(head -c 400 "$body" 2>/dev/null)"
}

# want STATUS TEXT CURL-ARGUMENTS: one request. The answer has the status, and the text somewhere.
want() {
  local status=$1 text=$2 got who="Authorization: Bearer $token" what="Content-Type: $type"
  shift 2
  [ -n "$token" ] || who=Authorization:
  [ -n "$type" ] || what=Content-Type:
  : >"$body"
  got=$(curl -sS -m 60 -o "$body" -D "$headers" -w '%{http_code}' -H "$who" -H "$what" "$@" 2>"$ANSWERS/trouble")
  [ -n "$secret" ] || cat "$headers" "$body" >>"$all"
  checks=$((checks + 1))
  if [ "$got" != "$status" ]; then
    ko "want $status, got $got $(cat "$ANSWERS/trouble")"
    return 1
  fi
  grep -qF -- "$text" "$body" || { ko "got $got without $text" && return 1; }
}

# says TEXT, header TEXT, numbers NAME…: more about the last answer. Scripts add figures up, so they are numbers, never texts.
says() { grep -qF -- "$1" "$body" || ko "nothing says $1"; }
header() { grep -qiF -- "$1" "$headers" || ko "no header $1 among $(tr -d '\r' <"$headers")"; }
numbers() {
  local name
  for name; do
    grep -Eq "\"$name\":-?[0-9]" "$body" && ! grep -q "\"$name\":\"" "$body" || ko "$name is no number"
  done
}

# id: the first id in the last answer. rev: its revision.
id() { grep -oE '"id":"[kt]_[0-9a-z]+"' "$body" | head -n 1 | cut -d '"' -f 4; }
rev() { grep -oE '"revision":"[0-9]+"' "$body" | head -n 1 | cut -d '"' -f 4; }

# good N, router N: keys that the upstreams know.
good() { printf 'ollama-canary-good-key-%04d' "$1"; }
router() { printf 'sk-or-canary-good-key-%04d' "$1"; }

echo "== is it there?"
token='' want 200 '"status":"ok"' "$ADMIN/health"
says '"ollama":{"enabled":true,"configured":false}'
want 405 METHOD_NOT_ALLOWED "$ADMIN/health" -X POST -d '{}'
header 'Allow: GET, HEAD'
want 404 NO_SUCH_ENDPOINT "$ADMIN/admin/apikeys"

echo "== who is asking"
token='' want 401 UNAUTHENTICATED "$ADMIN/admin/stats"
token=canary want 401 UNAUTHENTICATED "$keys"
token=canary want 401 UNAUTHENTICATED "$keys" -d '{"apiKey":"ollama-canary-bad-0001"}'
token=canary want 401 UNAUTHENTICATED "$keys/import" -d '{"keys":["ollama-canary-bad-0001"]}'
token=canary want 401 UNAUTHENTICATED "$ops/health-check" -d '{}'
token=canary want 401 UNAUTHENTICATED "$tokens" -X DELETE -d '{"id":"t_0000000000000"}'
token=canary want 401 UNAUTHENTICATED "$ADMIN/admin/verify-key" -X PUT
token='' want 401 UNAUTHENTICATED "$ADMIN/admin/public-stats" # nobody has opened them here
header 'WWW-Authenticate: Bearer'

echo "== api-keys: add"
want 200 '"created":true' "$keys" -d '{"apiKey":"'"$(good 1)"'","username":"ann@example.com"}'
says '"label":"ann@example.com"'
says '"provider":"ollama"'
says '"display":"olla…0001"'
ann=$(id)
want 200 '"created":false' "$keys" -d '{"api_key":"'"$(good 1)"'"}' # the same key again is no second one
says "$ann"
want 200 '"created":true' "$keys" -d '{"api_key":"'"$(good 2)"'","label":"bob","ttl":86400,"weight":5,"priority":1}'
bob=$(id)
want 200 '"provider":"openrouter"' "$keys?provider=openrouter" -d '{"apiKey":"'"$(router 1)"'"}'
rita=$(id)
want 200 '"provider":"openrouter"' "$keys" -d '{"apiKey":"'"$(router 2)"'","provider":"openrouter"}'
rolf=$(id)
want 200 '"created":true' "$keys?provider=openrouter" -d '{"apiKey":"'"$(router 3)"'","provider":"openrouter"}' # said twice alike
rosa=$(id)
type='' want 200 '"created":true' "$keys" -d '{"apiKey":"'"$(good 3)"'"}' # said to be nothing, it is taken for JSON
carl=$(id)
want 409 KEY_BELONGS_TO_OTHER_PROVIDER "$keys?provider=openrouter" -d '{"apiKey":"'"$(good 1)"'"}'

# What people get wrong, each told by the name of the field.
want 400 'provider: differs' "$keys?provider=openrouter" -d '{"apiKey":"ollama-canary-bad-0001","provider":"ollama"}'
want 404 PROVIDER_NOT_FOUND "$keys?provider=canary" -d '{"apiKey":"ollama-canary-bad-0001"}'
want 400 'provder: unknown parameter' "$keys?provder=canary" -d '{"apiKey":"ollama-canary-bad-0001"}'
want 400 'provider: given more than once' "$keys?provider=ollama&provider=canary" -d '{"apiKey":"ollama-canary-bad-0001"}'
want 400 'apiKey' "$keys" -X POST
want 400 'apiKey' "$keys" -d '{}'
want 400 'apiKey: must be a text' "$keys" -d '{"apiKey":["ollama-canary-bad-0001"]}'
want 400 'apiKey: must be a text' "$keys" -d '{"apiKey":12345678}'
want 400 'apiKey: has white space' "$keys" -d '{"apiKey":" ollama-canary-bad-0001"}'
want 400 'apiKey: is a whole line' "$keys" -d '{"apiKey":"ann@example.com----canary----session----ollama-canary-bad-0001"}'
want 400 'apiKey: given twice' "$keys" -d '{"apiKey":"ollama-canary-bad-0001","api_key":"ollama-canary-bad-0002"}'
want 400 'username: differs from label' "$keys" -d '{"apiKey":"ollama-canary-bad-0001","label":"canary a","username":"canary b"}'
want 400 'ttl: must be a number' "$keys" -d '{"apiKey":"ollama-canary-bad-0001","ttl":"canary"}'
want 400 'weight: must be a whole number' "$keys" -d '{"apiKey":"ollama-canary-bad-0001","weight":"7"}'
want 400 'key: unknown field' "$keys" -d '{"key":"ollama-canary-bad-0001"}'
want 400 'unknown field' "$keys" -d '{"ollama-canary-bad-0001":1}' # a key in a field's place has no name that could be told
want 400 'not JSON' "$keys" -d '{"apiKey":"ollama-canary-bad-0001"'
want 400 'not JSON' "$keys" -d 'ann@example.com----canary----ollama-canary-bad-0001'
want 400 'must be an object' "$keys" -d '["ollama-canary-bad-0001"]'
want 400 'must be an object' "$keys" -d 'null'
type=application/x-www-form-urlencoded want 415 'Content-Type: application/json' "$keys" -d 'apiKey=ollama-canary-bad-0001'
want 415 'Content-Encoding' "$keys" -H 'Content-Encoding: gzip' -d '{"apiKey":"ollama-canary-bad-0001"}'
want 405 METHOD_NOT_ALLOWED "$keys" -X PUT -d '{"apiKey":"ollama-canary-bad-0001"}'
header 'Allow: DELETE, GET, POST'
head -c 33554433 /dev/zero | tr '\0' x >"$ANSWERS/huge" # one byte more than 32 MiB
want 413 BODY_TOO_LARGE "$keys" --data-binary "@$ANSWERS/huge"
want 413 BODY_TOO_LARGE "$keys/import-from-txt" --data-binary "@$ANSWERS/huge"
rm "$ANSWERS/huge"

echo "== api-keys: list, one, change"
want 200 '"total":6' "$keys"
numbers total weight priority success failure consecutiveFailures
want 200 '"total":3' "$keys?provider=openrouter"
want 200 '"total":3' "$keys?provider=ollama&status=active"
want 200 '"total":1' "$keys?search=ann@example"
want 200 '"nextPageToken":"' "$keys?pageSize=2"
page=$(grep -oE '"nextPageToken":"[^"]+"' "$body" | cut -d '"' -f 4)
want 200 '"total":6' "$keys?page_size=2&page_token=$page"
want 400 'pageSize' "$keys?pageSize=canary"
want 400 'pageSize' "$keys?pageSize=1001"
want 400 'pageToken' "$keys?pageToken=canary"
want 400 'status' "$keys?status=canary"
want 404 PROVIDER_NOT_FOUND "$keys?provider=canary"
want 200 '"label":"ann@example.com"' "$keys/$ann"
want 200 "$rita" "$keys/$rita?provider=openrouter"
want 404 KEY_NOT_FOUND "$keys/$ann?provider=openrouter"
want 404 KEY_NOT_FOUND "$keys/ollama-canary-good-key-0001" # a key is found by its id only
want 405 METHOD_NOT_ALLOWED "$keys/$ann" -d '{}'
header 'Allow: DELETE, GET, PATCH'
want 200 '"label":"Ann"' "$keys/$ann" -X PATCH -d '{"label":"Ann","expireTime":"2099-01-02T03:04:05Z"}'
want 200 '"expireTime":"2098-' "$keys/$ann" -X PATCH -d '{"expire_time":"2098-01-02T03:04:05Z"}'
revision=$(rev)
want 200 '"weight":2' "$keys/$rita?provider=openrouter" -X PATCH -d '{"weight":2}'
want 200 '"label":"Anna"' "$keys/$ann" -X PATCH -d '{"label":"Anna","revision":"'"$revision"'"}'
want 409 REVISION_CONFLICT "$keys/$ann" -X PATCH -d '{"label":"Ann","revision":"'"$revision"'"}'
want 400 'provider: cannot be changed' "$keys/$ann" -X PATCH -d '{"provider":"openrouter"}'
want 400 'weight: must be a whole number' "$keys/$ann" -X PATCH -d '{"weight":"canary"}'
want 400 'models: must be a list' "$keys/$ann" -X PATCH -d '{"models":"canary"}'
want 400 'expireTime: must be a time' "$keys/$ann" -X PATCH -d '{"expireTime":"canary"}'
want 400 'id: differs' "$keys/$ann" -X PATCH -d '{"id":"canary","label":"x"}'
want 400 'name at least one field' "$keys/$ann" -X PATCH
want 404 KEY_NOT_FOUND "$keys/$ann?provider=openrouter" -X PATCH -d '{"label":"x"}'

echo "== api-keys: delete, and back again"
want 200 '"receipt":' "$keys/$carl" -X DELETE
want 404 KEY_NOT_FOUND "$keys/$carl" -X DELETE
want 404 KEY_NOT_FOUND "$keys/$carl:restore?provider=openrouter" -X POST
want 200 '"status":"active"' "$keys/$carl:restore?provider=ollama" -d '{}'
want 404 KEY_NOT_FOUND "$keys/$carl:restore" -X POST # it is there
want 405 METHOD_NOT_ALLOWED "$keys/$carl:restore"
header 'Allow: POST'
want 404 KEY_NOT_FOUND "$keys/canary:restore" -X POST
want 404 KEY_NOT_FOUND "$keys/$carl?provider=openrouter" -X DELETE
want 400 'name at least one key' "$keys" -X DELETE # this one once deleted the wrong thing
want 400 'name at least one key' "$keys?provider=openrouter" -X DELETE -d '{}'
want 400 'name at least one key' "$keys" -X DELETE -d '{"ids":[],"apiKeys":[]}'
want 400 'apiKeys: must be a list' "$keys" -X DELETE -d '{"apiKeys":"canary"}'
want 400 'ids[1]: must be a text' "$keys" -X DELETE -d '{"ids":["canary",7]}'
want 400 'provider: differs' "$keys?provider=ollama" -X DELETE -d '{"id":"'"$rosa"'","provider":"openrouter"}'
want 200 '"deleted":0,"notFound":1' "$keys?provider=ollama" -X DELETE -d '{"id":"'"$rosa"'"}' # another provider's key stays
numbers deleted notFound
want 200 '"deleted":1,"notFound":0' "$keys?provider=openrouter" -X DELETE -d '{"id":"'"$rosa"'"}'
want 200 '"deleted":1,"notFound":1' "$keys" -X DELETE -d '{"apiKeys":["'"$(router 2)"'","ollama-canary-bad-0001"],"provider":"openrouter"}'
want 200 '"deleted":1,"notFound":0' "$keys" -X DELETE -d '{"api_keys":["'"$(good 3)"'"]}'
want 200 '"deleted":0,"notFound":1' "$keys" -X DELETE -d '{"api_key":"'"$(good 3)"'"}'
want 404 KEY_NOT_FOUND "$keys/$rolf"

echo "== import a list"
want 200 '"counts":{"added":2,"duplicate":1,"failed":0,"invalid":1}' "$keys/import" \
  -d '{"keys":["'"$(good 4)"'","'"$(good 5)"'","'"$(good 4)"'","x"],"ttl":3600,"dryRun":true}'
numbers total done added duplicate failed invalid line
want 200 '"total":3' "$keys" # that was a dry run
want 200 '"added":2' "$keys/import" -d '{"keys":["'"$(good 4)"'","'"$(good 5)"'"],"dry_run":false}'
want 200 '"duplicate":2' "$keys/import" -d '{"keys":["'"$(good 4)"'","'"$(good 5)"'"]}'
want 200 '"added":1' "$keys/import?provider=openrouter" -d '{"keys":["'"$(router 4)"'"]}'
want 200 '"total":2' "$keys?provider=openrouter"
want 200 other_provider "$keys/import" -d '{"keys":["'"$(router 4)"'"]}'
want 400 'keys: must be a list' "$keys/import" -d '{"keys":"ollama-canary-bad-0001"}' # once this became one key per letter
want 400 'keys[0]: must be a text' "$keys/import" -d '{"keys":[{"apiKey":"ollama-canary-bad-0001"}]}'
want 400 'accounts: unknown field' "$keys/import" -d '{"accounts":["ollama-canary-bad-0001"]}'
want 400 'keys: holds no key' "$keys/import" -X POST
want 400 'ttl' "$keys/import" -d '{"keys":["ollama-canary-bad-0001"],"ttl":-1}'
want 400 'dryRun: must be true or false' "$keys/import" -d '{"keys":["ollama-canary-bad-0001"],"dryRun":"canary"}'
want 400 'provider: differs' "$keys/import?provider=openrouter" -d '{"keys":["ollama-canary-bad-0001"],"provider":"ollama"}'
want 400 'dryRun: unknown parameter' "$keys/import?dryRun=true" -d '{"keys":["ollama-canary-bad-0001"]}' # it belongs into the body
want 405 METHOD_NOT_ALLOWED "$keys/import" -X PUT -d '{}'
header 'Allow: POST'
want 405 METHOD_NOT_ALLOWED "$keys/import"
type=application/x-www-form-urlencoded want 415 'Content-Type: application/json' "$keys/import" -d 'keys=ollama-canary-bad-0001'

echo "== import ollama.txt"
text='cleo@example.com----canary-password----canary-session----'"$(good 6)"'\n'
text+='dora@example.com----canary-password----canary-session----canary-aid----'"$(good 7)"'\r\n\n'
text+='emil----'"$(good 8)"'\n'"$(good 9)"'\n'"$(good 9)"'\ncanary----canary-two----canary-three\n'
text+="$(good 10)"'----fred@example.com----canary-password----canary-session\n'
want 200 '"counts":{"added":4,"duplicate":1,"failed":0,"invalid":2}' "$keys/import-from-txt" -d '{"content":"'"$text"'","dry_run":true}'
want 200 '"counts":{"added":4,"duplicate":1,"failed":0,"invalid":2}' "$keys/import-from-txt" -d '{"content":"'"$text"'","ttl":3600}'
says '"line":7,"display":"","id":"","result":"invalid","reason":"wrong_fields"'
says looks_swapped
want 200 '"label":"dora@example.com"' "$keys?search=dora"
want 200 '"added":0,"duplicate":5' "$keys/import-from-txt" -d '{"content":"'"$text"'"}'
want 200 '"added":1' "$keys/import-from-txt?provider=openrouter" -d '{"content":"gina----'"$(router 5)"'"}'
want 400 'content: must be a text' "$keys/import-from-txt" -d '{"content":["canary"]}'
want 400 'content: holds no key' "$keys/import-from-txt" -d '{"content":"\n \n"}'
want 400 'content: holds no key' "$keys/import-from-txt" -X POST
want 400 'text: unknown field' "$keys/import-from-txt" -d '{"text":"canary"}'
want 400 'provider: differs' "$keys/import-from-txt?provider=openrouter" -d '{"content":"canary-key","provider":"ollama"}'
printf '%s' 'cleo@example.com----canary-password----canary-session----ollama-canary-bad-0001' >"$ANSWERS/ollama.txt"
type=text/plain want 415 'Content-Type: application/json' "$keys/import-from-txt" --data-binary "@$ANSWERS/ollama.txt"
want 400 'not JSON' "$keys/import-from-txt" --data-binary "@$ANSWERS/ollama.txt" # the file itself, without JSON around it
rm "$ANSWERS/ollama.txt"
want 405 METHOD_NOT_ALLOWED "$keys/import-from-txt" -X PUT
header 'Allow:'

echo "== import with validation"
text='hans@example.com----canary-password----canary-session----'"$(good 11)"'\nida----ollama-canary-bad-0001\n'"$(good 12)"
want 200 '"counts":{"added":2,"duplicate":0,"failed":1,"invalid":0}' "$keys/import-with-validation" -d '{"content":"'"$text"'","dryRun":true}'
want 200 '"categories":{"gpt-oss":2}' "$keys/import-with-validation" -d '{"content":"'"$text"'"}'
says auth_rejected
numbers gpt-oss
want 200 '"total":2' "$keys?category=gpt-oss"
want 200 '"added":1' "$keys/import-with-validation?provider=openrouter" -d '{"content":"'"$(router 6)"'\nsk-or-canary-bad-0001"}'
want 400 'content: must be a text' "$keys/import-with-validation" -d '{"content":7}'
want 400 'validate: unknown field' "$keys/import-with-validation" -d '{"content":"canary-key","validate":true}'
want 400 'not JSON' "$keys/import-with-validation" -d '{"content":"canary-key'
want 400 'content: holds no key' "$keys/import-with-validation" -X POST
want 405 METHOD_NOT_ALLOWED "$keys/import-with-validation" -X PUT
header 'Allow:'

echo "== verify one key"
verify=$ADMIN/admin/verify-key
want 200 '"valid":true,"status":"active","category":"gpt-oss"' "$verify" -d '{"apiKey":"'"$(good 13)"'"}'
want 200 '"valid":true' "$verify" -d '{"api_key":"'"$(good 13)"'"}'
want 200 '"valid":true' "$verify?provider=openrouter" -d '{"apiKey":"'"$(router 7)"'"}'
want 200 '"valid":true' "$verify" -d '{"id":"'"$ann"'"}'
want 200 '"valid":false,"status":"auto_disabled"' "$verify" -d '{"apiKey":"ollama-canary-bad-0001"}'
says '"reason":"auth_rejected"'
want 404 KEY_NOT_FOUND "$verify?provider=openrouter" -d '{"id":"'"$ann"'"}'
want 400 'one of both' "$verify" -X POST
want 400 'one of both' "$verify" -d '{"id":"'"$ann"'","apiKey":"ollama-canary-bad-0001"}'
want 400 'apiKey: must be a text' "$verify" -d '{"apiKey":{"key":"canary"}}'
want 400 'apiKey: must have 8' "$verify" -d '{"apiKey":"canary"}'
want 400 'keys: unknown field' "$verify" -d '{"keys":["canary"]}'
want 404 KEY_NOT_FOUND "$verify" -d '{"id":"canary"}'
want 400 'provider: differs' "$verify?provider=openrouter" -d '{"apiKey":"ollama-canary-bad-0001","provider":"ollama"}'
want 405 METHOD_NOT_ALLOWED "$verify"
header 'Allow: POST'

echo "== disable, enable"
want 200 '"status":"disabled"' "$ops/disable" -d '{"apiKey":"'"$(good 4)"'","duration":3600,"note":"leaked"}'
says '"acknowledged":["eu-1"]'
want 200 '"status":"active"' "$ops/enable" -d '{"apiKey":"'"$(good 4)"'"}'
want 200 '"reason":"admin"' "$ops/disable" -d '{"api_key":"'"$(good 4)"'","ids":["'"$bob"'"]}'
want 200 "$bob" "$ops/enable" -d '{"api_key":"'"$(good 4)"'","id":"'"$bob"'"}'
want 200 '"status":"disabled"' "$ops/disable?provider=openrouter" -d '{"id":"'"$rita"'"}'
want 200 '"status":"active"' "$ops/enable?provider=openrouter" -d '{"id":"'"$rita"'"}'
want 404 KEY_NOT_FOUND "$ops/disable?provider=openrouter" -d '{"id":"'"$bob"'"}'
want 404 KEY_NOT_FOUND "$ops/enable?provider=openrouter" -d '{"id":"'"$bob"'"}'
want 404 'apiKey' "$ops/disable" -d '{"apiKey":"ollama-canary-bad-0001"}'
want 404 'ids[1]' "$ops/enable" -d '{"ids":["'"$bob"'","canary"]}'
want 400 'name at least one key' "$ops/disable" -X POST
want 400 'name at least one key' "$ops/enable" -d '{}'
want 400 'duration: must be a number' "$ops/disable" -d '{"id":"'"$bob"'","duration":"3600"}'
want 400 'force: must be true or false' "$ops/disable" -d '{"id":"'"$bob"'","force":"canary"}'
want 400 'duration: unknown field' "$ops/enable" -d '{"id":"'"$bob"'","duration":1}'
want 400 'provider: differs' "$ops/disable?provider=ollama" -d '{"id":"'"$rita"'","provider":"openrouter"}'
want 405 METHOD_NOT_ALLOWED "$ops/disable"
header 'Allow: POST'
want 405 METHOD_NOT_ALLOWED "$ops/enable" -X PUT -d '{}'
routers=$(curl -sS -H "Authorization: Bearer $token" "$keys?provider=openrouter" | grep -oE '"id":"k_[0-9a-z]+"' | cut -d : -f 2 | paste -sd , -)
want 409 LAST_USABLE_KEY "$ops/disable?provider=openrouter" -d '{"ids":['"$routers"']}' # all of a provider: only if it is meant
want 200 '"status":"disabled"' "$ops/disable?provider=openrouter" -d '{"ids":['"$routers"'],"force":true}'
want 200 '"status":"active"' "$ops/enable" -d '{"ids":['"$routers"'],"provider":"openrouter"}'

echo "== health-check"
want 200 '"created":true' "$keys" -d '{"apiKey":"ollama-canary-dead-0001"}'
dead=$(id)
want 200 '"counts":{"applied":0,"limited":0,"rejected":1,"unknown":0,"valid":10}' "$ops/health-check?provider=ollama" -d '{"apply":false}'
numbers total done applied limited rejected unknown valid
want 200 '"status":"active"' "$keys/$dead"
want 200 '"applied":1' "$ops/health-check" -X POST # as ever: all of them, and it takes effect
want 200 '"status":"auto_disabled"' "$keys/$dead"
want 200 '"total":1' "$ops/health-check" -d '{"status":"auto_disabled"}'
want 200 '"rejected":1' "$ops/health-check" -d '{"ids":["'"$dead"'"]}'
want 200 '"valid":4' "$ops/health-check?provider=openrouter" -d '{"all":true}'
want 404 'ids[0]' "$ops/health-check?provider=openrouter" -d '{"ids":["'"$dead"'"]}'
want 400 'all' "$ops/health-check" -d '{"all":true,"status":"active"}'
want 400 'ids: must be a list' "$ops/health-check" -d '{"ids":"canary"}'
want 400 'status' "$ops/health-check" -d '{"status":"canary"}'
want 400 'apply: must be true or false' "$ops/health-check" -d '{"apply":1}'
want 400 'not JSON' "$ops/health-check" -d 'canary'
want 404 PROVIDER_NOT_FOUND "$ops/health-check" -d '{"provider":"canary"}'
want 405 METHOD_NOT_ALLOWED "$ops/health-check"
header 'Allow: POST'

echo "== client tokens"
old=sk-canary0123456789ABCDEFGHIJold1 # what the mobile app has built in
secret=1 want 200 '"token":"sk-pool-' "$tokens" -d '{"name":"web","expiresIn":86400}'
fresh=$(grep -oE '"token":"sk-pool-[0-9A-Za-z]+"' "$body" | cut -d '"' -f 4)
secret=1 want 200 '"provider":"openrouter"' "$tokens?provider=openrouter" -d '{"name":"routed","expires_in":86400}'
routed=$(grep -oE '"token":"sk-pool-[0-9A-Za-z]+"' "$body" | cut -d '"' -f 4)
want 200 '"token":"","clientToken":' "$tokens" -d '{"name":"mobile","token":"'$old'"}'
says '"created":true'
mobile=$(id)
want 200 '"created":false' "$tokens" -d '{"name":"mobile again","token":"'$old'"}'
want 200 '"total":3' "$tokens"
numbers total success failure clientError canceled
want 200 '"total":3' "$tokens?provider=openrouter" # those that may use it: one of the three may use nothing else
want 200 '"total":2' "$tokens?provider=ollama&page_size=1"
want 400 'name' "$tokens" -X POST
want 400 'name: must be a text' "$tokens" -d '{"name":["canary"]}'
want 400 'expiresIn: must be a number' "$tokens" -d '{"name":"x","expiresIn":"canary"}'
want 400 'expiresIn: given twice' "$tokens" -d '{"name":"x","expiresIn":1,"expires_in":2}'
want 400 'token: must begin with sk-' "$tokens" -d '{"name":"x","token":"canary-0123456789-0123456789"}'
want 400 'token: must have 25' "$tokens" -d '{"name":"x","token":"sk-canary"}'
want 400 'token: must be a text' "$tokens" -d '{"name":"x","token":42}'
want 400 'models: must be a list' "$tokens" -d '{"name":"x","models":"canary"}'
want 400 'expires: unknown field' "$tokens" -d '{"name":"x","expires":"canary"}'
want 400 'provider: differs' "$tokens?provider=openrouter" -d '{"name":"x","provider":"ollama"}'
want 404 PROVIDER_NOT_FOUND "$tokens" -d '{"name":"x","provider":"canary"}'
want 400 'one of both' "$tokens" -X DELETE
want 400 'one of both' "$tokens" -X DELETE -d '{"id":"'"$mobile"'","token":"'$old'"}'
want 400 'id: must be a text' "$tokens" -X DELETE -d '{"id":7}'
want 404 TOKEN_NOT_FOUND "$tokens" -X DELETE -d '{"token":"sk-canary"}'
want 405 METHOD_NOT_ALLOWED "$tokens" -X PUT
header 'Allow: DELETE, GET, POST'

echo "== and they work"
chat='{"model":"gpt-oss:20b","messages":[{"role":"user","content":"hello"}]}'
token=$fresh want 200 '"choices"' "$POOL/v1/chat/completions" -d "$chat"
token=$old want 200 '"choices"' "$POOL/v1/chat/completions" -d "$chat"
token=$old want 200 '"choices"' "$POOL/openrouter/v1/chat/completions" -d "$chat"
token=$routed want 200 '"choices"' "$POOL/openrouter/v1/chat/completions" -d "$chat"
token=$routed want 403 not_allowed "$POOL/v1/chat/completions" -d "$chat"
token=$old want 200 gpt-oss:20b "$POOL/v1/models"
token='' want 401 invalid_api_key "$POOL/v1/chat/completions" -d "$chat"
token=canary want 401 invalid_api_key "$POOL/v1/chat/completions" -d "$chat"
want 401 invalid_api_key "$POOL/v1/chat/completions" -d "$chat" # the admin token is no client token
token=$old want 401 UNAUTHENTICATED "$ADMIN/admin/stats"        # nor the other way round
want 404 TOKEN_NOT_FOUND "$tokens?provider=ollama" -X DELETE -d '{"token":"'"$routed"'"}'
want 200 '"acknowledged":["eu-1"]' "$tokens?provider=openrouter" -X DELETE -d '{"token":"'"$routed"'"}'
want 200 '"acknowledged":["eu-1"]' "$tokens" -X DELETE -d '{"token":"'$old'"}'
token=$old want 401 invalid_api_key "$POOL/v1/chat/completions" -d "$chat" # the very next request
want 404 TOKEN_NOT_FOUND "$tokens" -X DELETE -d '{"id":"'"$mobile"'"}'
token=$fresh want 200 '"choices"' "$POOL/v1/chat/completions" -d "$chat"

echo "== figures"
figures='totalApiKeys activeKeys failedKeys totalClientTokens totalRequests successCount failureCount upstreamAttempts attemptFailures'
for _ in $(seq 60); do # nodes report every second
  want 200 '"totalApiKeys":15' "$ADMIN/admin/stats" || break
  grep -q '"totalRequests":7,' "$body" && break
  sleep 0.25
done
says '"totalRequests":7,"successCount":6,"failureCount":0,"successRate":1,"upstreamAttempts":6,"attemptFailures":0'
says '"activeKeys":14,"failedKeys":1,"totalClientTokens":1'
numbers $figures successRate
want 200 '"totalApiKeys":4' "$ADMIN/admin/stats?provider=openrouter"
numbers $figures
want 400 'provder: unknown parameter' "$ADMIN/admin/stats?provder=canary"
want 404 PROVIDER_NOT_FOUND "$ADMIN/admin/stats?provider=canary"
want 405 METHOD_NOT_ALLOWED "$ADMIN/admin/stats" -d '{}'
header 'Allow: GET'
want 200 '"total":15' "$ops/stats"
numbers total success failure consecutiveFailures
want 200 '"total":4' "$ops/stats?provider=openrouter&pageSize=2"
want 200 '"total":4' "$ops/stats?provider=openrouter&page_size=2"
want 400 'pageToken' "$ops/stats?pageToken=canary"
want 400 'status: unknown parameter' "$ops/stats?status=canary"
want 405 METHOD_NOT_ALLOWED "$ops/stats" -X POST
want 200 '"topModels":[{"provider":"ollama","model":"gpt-oss:20b"' "$ADMIN/admin/public-stats?provider=ollama"
numbers totalRequests successCount failureCount successRate
want 200 '"totalRequests":2' "$ADMIN/admin/public-stats?provider=openrouter"
want 404 PROVIDER_NOT_FOUND "$ADMIN/admin/public-stats?provider=canary"
want 400 'days: unknown parameter' "$ADMIN/admin/public-stats?days=7"
want 405 METHOD_NOT_ALLOWED "$ADMIN/admin/public-stats" -X DELETE
token='' want 200 '"ollama":{"enabled":true,"configured":true}' "$ADMIN/health"

rm -f "$body" "$headers"
if grep -n canary "$all"; then
  failed=$((failed + 1))
  echo "an answer holds what it must not: see the lines above"
fi
echo "$checks requests, $failed failures"
[ "$failed" = 0 ]
