# The config of the Debian package: one gateway for devices, on loopback. All keys, with
# their defaults, are in /usr/share/doc/balhost/config.hcl. After a change:
#
#     balhost check -c /etc/balhost/config.hcl && systemctl reload balhost

data_dir = "/var/lib/balhost"

session "devices" {
  sender_id = "1"                                  # messages are stored under it: choose it once
  gateway {
    listen = "127.0.0.1:8443"                      # behind a proxy; or any address, with a tls block
    auth "static" {                                # for a first try: every device says who it is
      token = file("/etc/balhost/gateway.token")   # made by the package; replace this block by jwt, firebase or hmac
    }
  }
}

plugins {
  dir = "/opt/balhost/plugins"                     # executables of root's; the host watches it
}

admin {
  listen = "127.0.0.1:8765"                        # the page, the API and the commands
}
