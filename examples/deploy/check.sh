#!/usr/bin/env bash
# check.sh BALHOST: are the unit, the package and the image right? It installs, upgrades,
# removes and purges the package in a root of its own, an overlay that is thrown away. In
# another one it does what the Dockerfile says, and runs that as Kubernetes would. It needs
# Linux, root, systemd-analyze, dpkg and curl, and beside BALHOST the folder examples.
# hadolint looks at the Dockerfile if it is there.
set -euo pipefail

balhost=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf '== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2 && exit 1; }

say "the unit"
sed "s|/usr/bin/balhost|$balhost|" "$here/balhost.service" >"$work/balhost.service"
wrong=$(systemd-analyze verify --man=no "$work/balhost.service" 2>&1 | grep balhost || true)
[ -z "$wrong" ] || fail "$wrong"
# Exposure in tenths; 10 is no protection at all.
systemd-analyze security --offline=true --threshold=20 "$here/balhost.service" >"$work/security" || fail "the unit is less hardened than 2.0: $(tail -1 "$work/security")"
tail -1 "$work/security"

say "the image's recipe"
if command -v hadolint >/dev/null; then
	hadolint "$here/Dockerfile"
else
	echo "no hadolint here: skipped"
fi

say "the package"
"$here/deb/make.sh" "$balhost" "$work/old.deb" 0~1
"$here/deb/make.sh" "$balhost" "$work/new.deb" 0~2
export BALHOST_WORK=$work BALHOST_HERE=$here
# Own mounts, processes and loopback: nothing of it is seen outside, and nothing is left.
unshare --mount --pid --net --fork --kill-child --mount-proc bash -euo pipefail "$here/deb/check.sh"

say "the image, as kubernetes.yaml runs it"
BALHOST_PROGRAM=$balhost unshare --mount --pid --net --fork --kill-child --mount-proc bash -euo pipefail "$here/image.sh"

say "all is right"
