#!/usr/bin/env bash
# image.sh is the part of check.sh that stands for a container: the last stage of the
# Dockerfile, run with the config, the user and the limits of kubernetes.yaml. It runs in
# namespaces of its own. $BALHOST_PROGRAM is the host.
set -euo pipefail

here=$BALHOST_HERE
. "$here/root.sh"
new_root image

# What the last stage does, but for Debian's mirrors; and what an image FROM balhost adds.
recipe=$(awk '/^FROM debian/ {last=1} last && /^RUN/ {run=1} run {print} run && !/\\$/ {exit}' "$here/Dockerfile" | sed 's/^RUN //')
chroot "$root" bash -euc "apt-get() { :; }; $recipe"
cp "$BALHOST_PROGRAM" "$root/usr/local/bin/balhost"
cp "$(dirname "$BALHOST_PROGRAM")/examples/echo" "$root/plugins/"
[ "$(stat -c '%u %g %a' "$root/data")" = "10001 10001 700" ] || fail "who may read /data: $(stat -c '%u %g %a' "$root/data")"
mapfile -t entry < <(sed -n -E 's/^(ENTRYPOINT|CMD) \[(.*)\]$/\2/p' "$here/Dockerfile" | tr -d '",' | tr ' ' '\n')

# What kubernetes.yaml adds: the config, a root that can't be written to, and a volume for
# the pod's group.
awk '/^  config.hcl: \|/ {on=1; next} /^---/ {on=0} on {sub(/^    /, ""); print}' "$here/kubernetes.yaml" >"$root/etc/balhost/config.hcl"
mount --bind "$root" "$root" && mount -o remount,bind,ro "$root"
mount -t tmpfs tmpfs "$root/data" -o mode=2775,gid=10001
mount -t tmpfs tmpfs "$root/tmp"
mount --bind /dev "$root/dev"
pod=(env -i PATH=/usr/local/bin:/usr/bin:/bin GATEWAY_TOKEN=gate BALHOST_ADMIN_TOKEN=key
	setpriv --reuid 10001 --regid 10001 --groups 10001 --bounding-set=-all --inh-caps=-all --no-new-privs)

unshare --pid --fork --kill-child --mount-proc="$root/proc" chroot "$root" "${pod[@]}" "${entry[@]}" >"$work/host.log" 2>&1 &
host=$!
until_true curl -fsS http://127.0.0.1:8765/livez # the probes need no token
until_true curl -fsS http://127.0.0.1:8765/readyz
if curl -fsS http://127.0.0.1:8765/v1/status >"$work/out" 2>&1; then fail "the status can be had without a token"; fi

# A message goes in, and the plugin handles it.
curl -fsS -H "Authorization: Bearer gate" -H 'Content-Type: application/json' \
	-d '{"from":"phone-1","category":"com.example.echo","message_id":"m-1","data":{"k":"v"}}' http://127.0.0.1:8443/v1/upstream >"$work/out" ||
	fail "the gateway does not take a message"
handled() { curl -fsS -H "Authorization: Bearer key" http://127.0.0.1:8765/v1/status | grep -q '"handled": *1,'; }
until_true handled

# A second host on the same volume is refused, and the first goes on.
if chroot "$root" "${pod[@]}" "${entry[@]}" >"$work/out" 2>&1; then fail "a second host runs on the same volume"; fi
grep -q "another" "$work/out" || fail "a second host on the same volume was not refused for that: $(tail -3 "$work/out")"
handled || fail "the first host does not answer any more"

# SIGTERM ends it in order, though it is process 1.
kill -TERM "$(cat "/proc/$host/task/$host/children")"
wait "$host" || fail "as process 1 it ended with status $?: $(tail -5 "$work/host.log")"
echo "ran as process 1, as 10001 without capabilities on a read-only root; one host for one volume"
