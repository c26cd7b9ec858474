-- A loopback-only Prosody for TestProsody; everything lies below one folder.
local dir = os.getenv("BALHOST_PROSODY_DIR")
data_path = dir .. "/data"
plugin_paths = { dir .. "/modules" }
pidfile = dir .. "/prosody.pid"
log = { { levels = { min = "info" }, to = "file", filename = dir .. "/prosody.log" } }
interfaces = { "127.0.0.1" }
modules_enabled = { "saslauth", "disco", "ccs_route" }
modules_disabled = { "s2s", "offline", "http", "component" }
c2s_ports = {} -- no STARTTLS, as with CCS
c2s_direct_tls_ports = { tonumber(os.getenv("BALHOST_PROSODY_PORT")) }
c2s_direct_tls_ssl = { certificate = dir .. "/ccs.crt"; key = dir .. "/ccs.key"; }
c2s_stanza_size_limit = 256 * 1024
authentication = "ccs"
storage = "internal"
VirtualHost "gcm.googleapis.com"
	ssl = { certificate = dir .. "/ccs.crt"; key = dir .. "/ccs.key"; }
