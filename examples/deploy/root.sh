# root.sh is sourced by what runs in namespaces of its own: a root that is an overlay over
# the machine's, and is thrown away. $BALHOST_WORK is a folder for it.
work=$BALHOST_WORK

fail() { printf 'FAILED: %s\n' "$*" >&2 && exit 1; }
# until_true COMMAND: for a minute, since a host needs its time to start.
until_true() {
	for _ in $(seq 300); do
		if "$@" >"$work/out" 2>&1; then return 0; fi
		sleep 0.2
	done
	fail "it did not come true within a minute: $* ($(tail -3 "$work/out"))"
}

# new_root NAME sets $root.
new_root() {
	root=$work/$1
	mkdir "$root" "$root.layers"
	mount -t tmpfs tmpfs "$root.layers" # an overlay can't lie on every disk
	mkdir "$root.layers/up" "$root.layers/work"
	mount -t overlay overlay -o "lowerdir=/,upperdir=$root.layers/up,workdir=$root.layers/work" "$root"
	rm -rf "$root/run/systemd/system" # nothing is started by a package's scripts
	mount -t proc proc "$root/proc"
	mount --bind /dev "$root/dev"
	mount -t tmpfs tmpfs "$root/tmp"
	ip link set lo up
}
