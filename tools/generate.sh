#!/usr/bin/env bash
# Generates internal/pb and the OpenAPI file from proto/. With --check it
# changes nothing and fails if what is committed is not what it would write.
# BUF names the buf program. Run from the top of the repository.
set -euo pipefail

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
api=internal/operator/openapi.swagger.json

"$BUF" generate -o "$fresh"
"$BUF" generate --template buf.gen.gateway.yaml -o "$fresh"

if [ "${1:-}" = --check ]; then
	if diff -rq "$fresh/internal/pb" internal/pb && diff -q "$fresh/$api" "$api"; then
		exit 0
	fi
	echo "generated code is not current; run: make generate" >&2
	exit 1
fi

# Replaced file by file, and only where it differs: a build that runs beside
# this one keeps its cache.
mkdir -p internal/pb internal/operator
(cd internal/pb && find . -type f) | while read -r file; do
	[ -f "$fresh/internal/pb/$file" ] || rm "internal/pb/$file"
done
(cd "$fresh" && find internal -type f) | while read -r file; do
	cmp -s "$fresh/$file" "$file" && continue
	mkdir -p "$(dirname "$file")"
	cp "$fresh/$file" "$file"
done
