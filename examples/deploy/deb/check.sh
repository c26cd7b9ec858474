#!/usr/bin/env bash
# check.sh is the part of ../check.sh that runs in namespaces of its own. $BALHOST_WORK has
# old.deb and new.deb.
set -euo pipefail

work=$BALHOST_WORK root=$BALHOST_WORK/root
fail() { printf 'FAILED: %s\n' "$*" >&2 && exit 1; }
in_root() { chroot "$root" "$@"; }
as_balhost() { chroot "$root" setpriv --reuid balhost --regid balhost --clear-groups "$@"; }
# until COMMAND: for a minute, since a host needs its time to start.
until_true() {
	for _ in $(seq 300); do
		if "$@" >"$work/out" 2>&1; then return 0; fi
		sleep 0.2
	done
	fail "it did not come true within a minute: $* ($(tail -3 "$work/out"))"
}

mkdir "$root"
mount -t tmpfs tmpfs "$root"
mkdir "$root.layers"
mount -t tmpfs tmpfs "$root.layers" # an overlay can't lie on every disk
mkdir "$root.layers/up" "$root.layers/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$root.layers/up,workdir=$root.layers/work" "$root"
rm -rf "$root/run/systemd/system" # nothing is started by the package's scripts
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mkdir -p "$root/var/lib/balhost"
mount -t tmpfs tmpfs "$root/tmp"
cp "$work/old.deb" "$work/new.deb" "$root/tmp/"
ip link set lo up

host=
start() {
	(exec chroot "$root" setpriv --reuid balhost --regid balhost --clear-groups /usr/bin/balhost run -c /etc/balhost/config.hcl) >"$work/host.log" 2>&1 &
	host=$!
	until_true curl -fsS http://127.0.0.1:8765/livez
}
stop() {
	kill "$host"
	wait "$host" || fail "the host ended with status $?: $(tail -5 "$work/host.log")"
}
pending() { as_balhost balhost status -c /etc/balhost/config.hcl --json | grep -q "\"events\": $1,"; }

in_root dpkg -i /tmp/old.deb >/dev/null
[ "$(stat -c '%U %a' "$root/etc/balhost/gateway.token")" = "$(stat -c '%U' "$root/var/lib/balhost") 600" ] || fail "who may read the token: $(stat -c '%U %a' "$root/etc/balhost/gateway.token")"
as_balhost balhost check -c /etc/balhost/config.hcl >"$work/out" || fail "check: $(cat "$work/out")"
as_balhost balhost doctor -c /etc/balhost/config.hcl >"$work/out" 2>&1 || grep -q "tmpfs" "$work/out" || fail "doctor: $(cat "$work/out")"
start
token=$(cat "$root/etc/balhost/gateway.token")
curl -fsS -H "Authorization: Bearer $token" -H 'Content-Type: application/json' \
	-d '{"from":"phone-1","category":"com.example.deb","message_id":"m-1","data":{"k":"v"}}' http://127.0.0.1:8443/v1/upstream >"$work/out" ||
	fail "the gateway does not take a message"
until_true pending 1
stop

# An upgrade keeps what waits, the token, and a config that was changed.
echo "# changed here" >>"$root/etc/balhost/config.hcl"
in_root env DEBIAN_FRONTEND=noninteractive dpkg --force-confold -i /tmp/new.deb >/dev/null
grep -q "changed here" "$root/etc/balhost/config.hcl" || fail "the upgrade has changed the config"
[ "$token" = "$(cat "$root/etc/balhost/gateway.token")" ] || fail "the upgrade has changed the token"
start
until_true pending 1
stop

# Back again: the older version opens what the newer one has left.
in_root env DEBIAN_FRONTEND=noninteractive dpkg --force-confold -i /tmp/old.deb >"$work/out" 2>&1 || fail "downgrade: $(cat "$work/out")"
start
until_true pending 1
stop

# As process 1, on a root that can't be written to, as in a container.
mount --bind "$root" "$root" && mount -o remount,bind,ro "$root"
mount -t tmpfs tmpfs "$root/var/lib/balhost" -o "mode=700,uid=$(stat -c %u "$root/etc/balhost/gateway.token"),gid=$(stat -c %g "$root/etc/balhost/gateway.token")"
unshare --pid --fork --kill-child --mount-proc="$root/proc" \
	chroot "$root" setpriv --reuid balhost --regid balhost --clear-groups /usr/bin/balhost run -c /etc/balhost/config.hcl >"$work/host.log" 2>&1 &
host=$!
until_true curl -fsS http://127.0.0.1:8765/livez
kill -TERM "$(cat "/proc/$host/task/$host/children")"
wait "$host" || fail "as process 1 it ended with status $?: $(tail -5 "$work/host.log")"
umount "$root/var/lib/balhost" && mount -o remount,bind,rw "$root"

# Gone, but for the messages.
in_root dpkg -r balhost >/dev/null 2>&1
[ ! -e "$root/usr/bin/balhost" ] || fail "the program is still there"
[ -e "$root/etc/balhost/config.hcl" ] || fail "removing has removed the config"
in_root dpkg -P balhost >"$work/out" 2>&1
[ ! -e "$root/etc/balhost" ] || fail "purging has left /etc/balhost"
grep -q "the messages in /var/lib/balhost stay" "$work/out" || fail "purging says nothing of the messages: $(cat "$work/out")"
[ -d "$root/var/lib/balhost/ledger" ] || fail "purging has removed messages"
echo "installed, upgraded, went back, ran as process 1, removed, purged"
