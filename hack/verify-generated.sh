#!/bin/sh
# Generates all code anew in a copy of the tree and compares: a difference means
# that someone changed a generator's input, or its output by hand.
set -eu
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z | xargs -0 tar -cf - | tar -xf - -C "$copy"
(cd "$copy" && for script in hack/*-gen.sh; do $script; done) >"$copy/.log" 2>&1 || {
	cat "$copy/.log" >&2
	exit 1
}
if ! git ls-files | grep -E 'zz_generated' | while read -r file; do
	diff -u "$file" "$copy/$file" || exit 1
done; then
	echo "generated code differs: run make generate" >&2
	exit 1
fi
