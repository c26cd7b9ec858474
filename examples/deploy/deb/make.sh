#!/usr/bin/env bash
# make.sh BALHOST OUT [VERSION]: the Debian package of a built balhost, as OUT. It needs
# dpkg-deb alone. Without VERSION it is made of the last commit.
set -euo pipefail

balhost=$1 out=$2
here=$(cd "$(dirname "$0")/.." && pwd)
clone=$(cd "$here/../.." && pwd)
version=${3:-$(TZ=UTC0 git -C "$clone" log -1 --date=format-local:%Y%m%d.%H%M%S --format='0~%cd.%h')}

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
put() { # MODE FILE PATH
	install -D -m "$1" "$2" "$root$3"
}
put 755 "$balhost" /usr/bin/balhost
put 644 "$here/balhost.service" /lib/systemd/system/balhost.service
put 644 "$here/config.hcl" /etc/balhost/config.hcl
put 644 "$clone/config.hcl" /usr/share/doc/balhost/config.hcl
put 644 "$clone/README.md" /usr/share/doc/balhost/README.md
put 644 "$here/notify-reload.conf" /usr/share/doc/balhost/notify-reload.conf
for script in postinst prerm postrm; do
	put 755 "$here/deb/$script" "/DEBIAN/$script"
done
echo /etc/balhost/config.hcl >"$root/DEBIAN/conffiles"
cat >"$root/DEBIAN/control" <<END
Package: balhost
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: the balhost team <balhost@localhost>
Depends: adduser
Recommends: ca-certificates
Section: net
Priority: optional
Installed-Size: $(du -sk "$root" | cut -f1)
Description: runs plugins on an app's messages, and loses none
 balhost is the daemon between a mobile app's devices and its server's business
 logic. It stores every message on disk before it acks it, gives it to a plugin
 until the plugin has handled it, and replaces plugins while messages flow.
END
mkdir -p "$(dirname "$out")"
dpkg-deb -Zzstd --root-owner-group --build "$root" "$out" >/dev/null
