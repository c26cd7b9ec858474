#!/bin/bash
# make.sh OUT installs what the lock files name into build/, runs the SDK's tests, and makes
# the examples' plugin folders: OUT/echo and OUT/chatroom. PYTHON names the interpreter, of
# version 3.10 or later. It says nothing when all is well.
set -euo pipefail
out=$(realpath -m "${1:?make.sh OUT: the folder for the plugin folders}")
cd "$(dirname "$0")"
python=${PYTHON:-python3}
mkdir -p build "$out"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 MYPY_CACHE_DIR=build/mypy

# quietly COMMAND prints what the command has said only if it fails.
quietly() {
	local log
	log=$(mktemp build/log.XXXXXX)
	"$@" >"$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; exit 1; }
	rm -f "$log"
}

# locked NAME COMMAND runs the command if the lock file or the interpreter has changed since.
locked() {
	local now
	now=$(cat "locks/$1.txt" <("$python" -VV))
	if [ "$(cat "build/$1.done" 2>/dev/null)" != "$now" ]; then
		rm -rf "build/$1" "build/$1.done"
		"${@:2}"
		echo "$now" >"build/$1.done"
	fi
}

environment() {
	"$python" -m venv "build/$1"
	quietly "build/$1/bin/pip" install -q --require-hashes -r "locks/$1.txt"
}

library() {
	quietly build/test/bin/pip install -q --require-hashes --no-compile --target build/runtime -r locks/runtime.txt
	rm -rf build/runtime/bin
}

locked test environment test
locked generator environment generator
locked runtime library

rm -rf build/wire && mkdir build/wire
quietly build/generator/bin/python -m grpc_tools.protoc -I ../wire --python_out=build/wire --pyi_out=build/wire balhost/plugin/v1/plugin.proto
if [ "${GENERATE:-}" ]; then
	cp build/wire/balhost/plugin/v1/plugin_pb2.* src/balhost/_wire/
fi
for file in plugin_pb2.py plugin_pb2.pyi; do
	cmp -s build/wire/balhost/plugin/v1/$file src/balhost/_wire/$file || {
		echo "sdk/python/src/balhost/_wire/$file is not what the generator makes of plugin.proto: run GENERATE=1 sdk/python/make.sh OUT, and commit it" >&2
		exit 1
	}
done

quietly build/test/bin/ruff format --check .
quietly build/test/bin/ruff check .
quietly build/test/bin/mypy
quietly build/test/bin/mypy examples/echo/echo.py examples/chatroom/chatroom.py
quietly build/test/bin/python -m pytest

rm -rf build/lib
cp -r build/runtime build/lib
quietly build/test/bin/pip install -q --no-build-isolation --no-deps --no-index --no-compile --target build/lib .
for name in echo chatroom; do
	new=$out/.$name.new old=$out/.$name.old
	rm -rf "$new" "$old"
	mkdir "$new"
	cp "examples/$name/plugin" "examples/$name/$name.py" "$new"
	cp -r build/lib "$new/lib"
	if [ -e "$out/$name" ]; then mv "$out/$name" "$old"; fi
	mv "$new" "$out/$name"
	rm -rf "$old"
done
