#!/usr/bin/env bash
# Reads reports/coverage.out, which scripts/test.sh writes, and says how much of each package's statements the tests ran: reports/coverage.txt.
# Exit status 1 when it is less than 85 % in all. cmd (its scripts run the binary as a process of its own), bench, and packages that only tests use do not count.
set -euo pipefail
cd "$(dirname "$0")/.."
least=85

awk -v least="$least" '
	NR == 1 { next } # mode: atomic
	{
		file = $1; sub(/:.*/, "", file); sub(/^github.com\/openway-access\/openway\//, "", file)
		package = file; sub(/\/[^\/]*$/, "", package)
		if (package ~ /^(cmd|bench)(\/|$)/ || package ~ /test$/) next
		# A block may stand in the profile of several test binaries.
		if (!($1 in statements)) { statements[$1] = $2; of[$1] = package; all[package] += $2; total += $2 }
		if ($3 > 0 && !($1 in run)) { run[$1] = 1; ran[package] += $2; totalRan += $2 }
	}
	END {
		if (!total) { print "coverage.sh: reports/coverage.out has no statements: run ./scripts/test.sh"; exit 1 }
		for (p in all) printf "%-28s %6.1f %%  of %5d statements\n", p, 100 * ran[p] / all[p], all[p] | "sort"
		close("sort")
		printf "%-28s %6.1f %%  of %5d statements\n", "in all", 100 * totalRan / total, total
		if (100 * totalRan / total < least) { printf "Less than %d %%: test what is not.\n", least; exit 1 }
	}' reports/coverage.out >reports/coverage.txt || {
	cat reports/coverage.txt >&2
	exit 1
}
cat reports/coverage.txt
