#!/bin/bash
# make.sh OUT installs what package-lock.json names into node_modules, runs the SDK's own tests, and makes the plugin
# folders OUT/echo and OUT/chatroom. It prints nothing when all is well.
set -euo pipefail

if [ $# -ne 1 ]; then
	echo "usage: make.sh OUT" >&2
	exit 2
fi
if ! node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)'; then
	echo "sdk/node needs Node 20 or later on the PATH, with npm" >&2
	exit 1
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# step WHAT COMMAND… runs a command, and shows what it prints only if it fails.
step() {
	local what=$1
	shift
	if ! "$@" >"$scratch/log" 2>&1; then
		cat "$scratch/log" >&2
		echo "sdk/node: $what failed" >&2
		exit 1
	fi
}

if ! cmp -s package-lock.json node_modules/.installed; then
	step "npm ci" npm ci
	cp package-lock.json node_modules/.installed
fi
export PATH=$PWD/node_modules/.bin:$PATH

step "generating" npm run generate -- --output "$scratch"
if ! diff -r "$scratch/src/wire" src/wire >&2; then
	echo "sdk/node: the generated code is stale: run npm run generate there and commit it" >&2
	exit 1
fi
step "the format check (mend it with npm run format)" prettier --check .
rm -rf dist
step "compiling" npm run build
step "the tests" npm test
for example in echo chatroom; do
	step "bundling $example" node dist/src/bundle.js "examples/$example/main.ts" "$out/$example"
done
