#!/usr/bin/env bash
# Runs every fuzz target of the repository for FUZZTIME, two at a time.
# A target that fails prints its whole output; Go keeps the input under testdata/fuzz.
# Run from the top of the repository.
set -euo pipefail

export GO=${GO:-go} FUZZTIME=${FUZZTIME:-10s}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export logs

targets() {
	{ grep -rnoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . || true; } |
		sed -E 's#^(.*)/[^/]+:[0-9]+:func (Fuzz.*)#\1 \2#' | sort -u
}

# Minimising inputs that are merely new takes a minute each by default: whole runs of the slower targets would go into it.
# The working folder of a target's engine is its own package, so two targets of
# one package may run side by side.
try() {
	"$GO" test -vet=off -run '^$' -fuzz "^$2\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 10x -parallel 1 "$1" >"$log" 2>&1
}

# Go's engine sometimes takes the end of the time for a failure of the target (golang.org/issue/75804, until Go 1.27): it says nothing
# but "context deadline exceeded", and there is no failing input. That target has a second run.
late() {
	grep -q '^    context deadline exceeded$' "$log" && ! grep -qE 'Failing input|panic:|_test.go:' "$log"
}

one() {
	local log="$logs/${1//\//_}.$2"
	if try "$@" || { late && try "$@"; }; then
		printf 'ok    %-40s %-32s %s\n' "$1" "$2" "$(grep -oE 'execs: [0-9]+' "$log" | tail -n 1 || true)"
		return
	fi
	printf 'FAIL  %s %s\n' "$1" "$2"
	cat "$log"
	return 1
}
export -f one try late

if [ -z "$(targets)" ]; then
	echo "fuzz: no target found" >&2
	exit 1
fi
targets | xargs -P 2 -L 1 bash -c 'one "$1" "$2"' fuzz
