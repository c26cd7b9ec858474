#!/usr/bin/env bash
# make.sh OUT builds the SDK, runs its tests and those of the examples, and makes the plugin
# folders OUT/echo and OUT/chatroom. It needs JDK 17 or later, and Maven.
# make.sh --lock writes dependencies.sha256 anew, after a change of a version.
#
# Maven keeps what it downloads in target/repository. Nothing else is used, and each file there
# must have the hash that dependencies.sha256 names.
set -euo pipefail

[ $# = 1 ] || { echo "usage: make.sh OUT, or make.sh --lock" >&2; exit 2; }
case $1 in
--lock | /*) out=$1 ;;
*) out=$PWD/$1 ;;
esac
cd "$(dirname "$0")"
repository=$PWD/target/repository
log=$PWD/target/make.log
mkdir -p "$repository"

fail() {
	echo "sdk/java: $*" >&2
	exit 1
}

# Where the list has a protoc, the code in git is compared with what that makes.
protoc=()
if [ "$(uname -sm)" = "Linux x86_64" ]; then
	protoc=(-Pprotoc -Dprotoc.platform=linux-x86_64)
fi

maven() {
	mvn -B -ntp -Dmaven.repo.local="$repository" ${protoc[@]+"${protoc[@]}"} "$@" >"$log" 2>&1 || {
		grep -E '^\[ERROR\]|^\[WARNING\] Could not' "$log" | head -40 >&2
		fail "mvn $* failed; all of it is in $log"
	}
}

sha256() {
	if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}

# All that Maven has downloaded, with its hashes.
hashes() {
	cd "$repository"
	find . \( -name '*.jar' -o -name '*.pom' -o -name '*.exe' \) ! -path './balhost/*' | LC_ALL=C sort | while read -r file; do
		sha256 "$file"
	done
}

if [ "$out" = --lock ]; then
	# What was kept for versions that are not used any more shall not stay in the list.
	rm -rf "$repository" && mkdir -p "$repository"
	maven package
	hashes >dependencies.sha256
	exit
fi

[ -s dependencies.sha256 ] || fail "dependencies.sha256 is missing"
maven package
strange=$(hashes | grep -vxFf dependencies.sha256 || true)
[ -z "$strange" ] || fail "Maven has downloaded files that dependencies.sha256 does not name with this hash:
$strange"

if [ ${#protoc[@]} -gt 0 ]; then
	program=$(echo "$repository"/com/google/protobuf/protoc/*/protoc-*.exe)
	chmod +x "$program"
	rm -rf target/generated && mkdir -p target/generated
	"$program" -I ../wire --java_out=lite:target/generated balhost/plugin/v1/plugin.proto
	diff -r target/generated balhost-wire/src/main/java >/dev/null ||
		fail "the code in balhost-wire is stale: copy sdk/java/target/generated there and commit it"
fi

for name in echo chatroom; do
	new=$out/.$name.new
	rm -rf "$new" && mkdir -p "$new"
	cp examples/$name/plugin examples/$name/target/plugin.jar "$new"
	rm -rf "$out/$name" && mv "$new" "$out/$name"
done
