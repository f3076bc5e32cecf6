#!/usr/bin/env bash
# Security audit: modules as recorded, gosec over our code, govulncheck over what we depend on. Everything found is printed and
# written to reports/security.txt.
#
#   ./scripts/audit.sh                 everything
#   ./scripts/audit.sh govulncheck     some of: modules gosec govulncheck
#
# Exit status: 0 nothing found; 1 something was found, or a tool did not run; 2 wrong arguments; 3 nothing was found, but the vulnerability database could
# not be asked, so the audit is not complete. AUDIT_REPORT names another report. GOVULNDB names another database (https://vuln.go.dev is the default; file:// works).
set -euo pipefail
cd "$(dirname "$0")/.."
report=${AUDIT_REPORT:-reports/security.txt}
mkdir -p "$(dirname "$report")"
part=$(mktemp)
trap 'rm -f "$part"' EXIT
database=${GOVULNDB:-https://vuln.go.dev}
failed=() unreachable=''
[ $# -gt 0 ] || set -- modules gosec govulncheck
for step in "$@"; do
	case $step in
	modules | gosec | govulncheck) ;;
	*)
		printf 'audit.sh: %s is none of modules, gosec, govulncheck\n' "$step" >&2
		exit 2
		;;
	esac
done
wanted() { [[ " $steps " == *" $1 "* ]]; }
steps="$*"

{
	printf 'Security audit of %s, %s\n' "$(git describe --always --dirty --tags)" "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
	printf '%s\n' "$(go version)"
} >"$report"

# run NAME COMMAND...: its output goes to the report and the terminal, its failure is remembered.
run() {
	local name=$1 status=0
	shift
	printf '\n== %s\n' "$name" | tee -a "$report"
	"$@" >"$part" 2>&1 || status=$?
	tee -a "$report" <"$part"
	printf '%s: exit status %d\n' "$name" "$status" | tee -a "$report"
	return "$status"
}

# In gosec.json: G101 looks for names of secrets; "credential" and "token" are nouns of this program. Left out, for all files: G104, errors that are ignored on purpose say so where they stand, and staticcheck and review watch over the rest;
# G304, files whose names come from a variable: naming files is what a command line is for.
# bench, processtest and djangotest are tools of developers and tests that no installation runs. Anything else is mended, or excused where it stands: #nosec RULE -- why.
sources() { go tool gosec -quiet -fmt text -color=false -conf scripts/gosec.json -exclude=G104,G304 -exclude-dir=bench -exclude-dir=internal/processtest -exclude-dir=internal/djangotest ./...; }

# govulncheck exits 3 when it found something, 1 when it could not look.
vulnerabilities() { go tool govulncheck -db "$database" ./...; }

if wanted modules; then
	run 'go mod verify' go mod verify || failed+=('go mod verify')
fi
if wanted gosec; then
	run gosec sources || failed+=(gosec)
fi
if wanted govulncheck && ! run govulncheck vulnerabilities; then
	if grep -qE 'fetching vulnerabilities|creating client' "$part"; then
		unreachable=yes
	else
		failed+=(govulncheck)
	fi
fi
printf '\n' | tee -a "$report"
if [ ${#failed[@]} -gt 0 ]; then
	printf 'FAILED: %s. See %s.\n' "${failed[*]}" "$report" | tee -a "$report" >&2
	exit 1
fi
if [ -n "$unreachable" ]; then
	printf 'INCOMPLETE: the vulnerability database %s could not be asked. Go online, or set GOVULNDB to a copy of it, and run this again.\n' "$database" | tee -a "$report" >&2
	exit 3
fi
printf 'Nothing found.\n' | tee -a "$report"
