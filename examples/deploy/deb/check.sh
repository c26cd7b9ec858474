#!/usr/bin/env bash
# check.sh is the part of ../check.sh that runs in namespaces of its own. $BALHOST_WORK has
# old.deb and new.deb.
set -euo pipefail

. "$BALHOST_HERE/root.sh"
new_root package
in_root() { chroot "$root" "$@"; }
as_balhost() { chroot "$root" setpriv --reuid balhost --regid balhost --clear-groups "$@"; }
mkdir -p "$root/var/lib/balhost"
cp "$work/old.deb" "$work/new.deb" "$root/tmp/"

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

# Gone, but for the messages.
in_root dpkg -r balhost >/dev/null 2>&1
[ ! -e "$root/usr/bin/balhost" ] || fail "the program is still there"
[ -e "$root/etc/balhost/config.hcl" ] || fail "removing has removed the config"
in_root dpkg -P balhost >"$work/out" 2>&1
[ ! -e "$root/etc/balhost" ] || fail "purging has left /etc/balhost"
grep -q "the messages in /var/lib/balhost stay" "$work/out" || fail "purging says nothing of the messages: $(cat "$work/out")"
[ -d "$root/var/lib/balhost/ledger" ] || fail "purging has removed messages"
echo "installed, upgraded, went back, removed, purged"
