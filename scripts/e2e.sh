#!/usr/bin/env bash
# Tries a running instance from outside, as a controller and an app would.
#
#   E2E_USER=ann E2E_PASSWORD=… E2E_GATE_ALLOW=front-door E2E_GATE_DENY=vault scripts/e2e.sh https://access.example.org [--rate-limit]
#
# E2E_USER is a person who may pass E2E_GATE_ALLOW and may not pass E2E_GATE_DENY; both gates exist. Each run signs in once (a token is made;
# openway token revoke ends it) and leaves a few events. --rate-limit also asks until it is refused: do not do that to a site in use from
# an address that controllers share.
# A line for each check goes to reports/e2e.jsonl (E2E_REPORT): {"ts","op","status","body","ok"}, without tokens. Exit status: 0 all is well,
# 1 a check failed, 2 the call was wrong. CURL_CA_BUNDLE names the root of a private authority. Needs bash and curl.
set -euo pipefail

usage() { printf 'e2e.sh: %s; see the head of %s\n' "$1" "$0" >&2; exit 2; }

url='' rate_limit=''
for arg in "$@"; do
	case $arg in
	--rate-limit) rate_limit=yes ;;
	http://* | https://*) [ -z "$url" ] || usage 'one URL'; url=${arg%/} ;;
	*) usage "\"$arg\" is neither a URL nor --rate-limit" ;;
	esac
done
[ -n "$url" ] || usage 'which URL?'
for name in E2E_USER E2E_PASSWORD E2E_GATE_ALLOW E2E_GATE_DENY; do
	[ -n "${!name:-}" ] || usage "$name is not set"
done
command -v curl >/dev/null || usage 'curl is not installed'

report=${E2E_REPORT:-$(dirname "$0")/../reports/e2e.jsonl}
mkdir -p "$(dirname "$report")"
: >"$report"

# json TEXT: as a JSON string.
json() {
	local s=$1 c i out=''
	for ((i = 0; i < ${#s}; i++)); do
		c=${s:i:1}
		case $c in
		'"' | \\) out+=\\$c ;;
		$'\n') out+='\n' ;;
		[[:cntrl:]]) printf -v c '\\u%04x' "'$c" && out+=$c ;;
		*) out+=$c ;;
		esac
	done
	printf '"%s"' "$out"
}

token='' failed=0 status='' body=''

# ask METHOD PATH [BODY]: sets status (000 = no answer) and body. What is sent goes by standard input: the list of processes must not show it.
ask() {
	local answer args=(-sS -m 15 -X "$1" -w '\n%{http_code}' -H 'Accept-Language: en')
	[ $# -lt 3 ] || args+=(-H 'Content-Type: application/json' --data-binary @-)
	if ! answer=$(printf %s "${3:-}" | curl "${args[@]}" "$url$2" 2>&1); then # curl has said why; without an answer its status is 000
		answer=${answer//$'\n'/ }$'\n'000
	fi
	status=${answer##*$'\n'}
	body=${answer%$'\n'*}
}

# check OP STATUS TEXT...: whether the last answer has that status and all the texts; into the report, and onto the screen.
check() {
	local op=$1 want=$2 ok=true text shown
	shift 2
	[ "$status" = "$want" ] || ok=false
	for text in "$@"; do
		[[ $body == *"$text"* ]] || ok=false
	done
	shown=${body:0:300}
	[ -z "$token" ] || shown=${shown//"$token"/…}
	shown=$(sed -E 's/[0-9A-Fa-f]{32,}/…/g' <<<"$shown")
	printf '{"ts":"%s","op":"%s","status":%d,"body":%s,"ok":%s}\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$op" "$((10#$status))" "$(json "$shown")" "$ok" >>"$report"
	if [ "$ok" = true ]; then
		printf 'ok      %-16s %s\n' "$op" "$status"
	else
		printf 'FAILED  %-16s %s (want %s%s): %s\n' "$op" "$status" "$want" "${*:+ with $*}" "$shown"
		failed=1
	fi
}

verify() { ask POST /api/v1/access/verify "{\"gate_id\":$(json "$1"),\"token\":$(json "$2")}"; }

ask GET /healthz
check healthz 200 '{"status": "ok"}'
ask GET /readyz
check readyz 200 '{"status": "ready"}'
ask POST /api/v1/auth/token "{\"username\":$(json "$E2E_USER"),\"password\":$(json "$E2E_PASSWORD")}"
if [[ $body =~ \"token\":\ ?\"([0-9a-f]{40})\" ]]; then token=${BASH_REMATCH[1]}; fi
check token 200 '{"token":'
verify "$E2E_GATE_ALLOW" "${token:-no-token-was-given}"
check allow 200 '"decision":"ALLOW"' '"reason":"OK"'
verify "$E2E_GATE_DENY" "${token:-no-token-was-given}"
check no_permission 200 '"decision":"DENY"' '"reason":"NO_PERMISSION"'
verify "$E2E_GATE_ALLOW" "e2e-$RANDOM-$RANDOM-$RANDOM-never-issued"
check token_invalid 200 '"decision":"DENY"' '"reason":"TOKEN_INVALID"'
verify "e2e-no-such-gate-$RANDOM" "${token:-no-token-was-given}"
check unknown_gate 200 '"decision":"DENY"' '"reason":"UNKNOWN_GATE"'
ask POST /api/v1/access/verify 'this is no JSON'
check invalid_request 200 '"decision":"DENY"' '"reason":"INVALID_REQUEST"'
ask GET /schema/
check schema 200 openapi /api/v1/access/verify

if [ -n "$rate_limit" ]; then
	# Many at once, with a token that opens nothing, until one is refused.
	all=''
	for _ in 1 2 3 4 5; do
		all+=$(printf '{"gate_id":"e2e","token":"e2e-rate-limit"}' | curl -sS -m 15 -Z --parallel-max 50 -H 'Content-Type: application/json' --data-binary @- "$url/api/v1/access/verify?[1-100]" 2>&1) || break
		case $all in *RATE_LIMIT*) break ;; esac
	done
	status=200 body=$all
	case $all in *RATE_LIMIT*) body='{"decision":"DENY","reason":"RATE_LIMIT"}' ;; esac
	check rate_limit 200 '"reason":"RATE_LIMIT"'
fi

exit $failed
