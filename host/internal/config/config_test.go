package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"balhost/sdk/message"
)

// least is the smallest legal file; tests put more behind it.
const least = `session "main" {
  sender_id = "482915730064"
  ccs {
    address    = "127.0.0.1:5236"
    server_key = "k"
  }
}
`

func TestEveryKeyArrives(t *testing.T) {
	cfg, err := Parse("/etc/balhost/config.hcl", []byte(`
data_dir     = "/var/lib/balhost"
connect_rate = 60
session "a" {
  sender_id = "1"
  ccs {
    connections     = 3
    max_connections = 5
    address         = "ccs.example:5235"
    server_key      = env("KEY")
    window          = env("WINDOW")
    ping_interval   = "1s"
    ping_timeout    = "2s"
    answer_timeout  = "3s"
    max_stanza      = "64KiB"
    ack_warn        = "4ms"
    connect_backoff {
      min = "5ms"
      max = "6ms"
    }
    tls {
      ca_file     = "ca.pem"
      server_name = "ccs"
    }
  }
}
session "b" {
  sender_id = "2"
  ccs {
    address    = "[::1]:5235"
    server_key = "b"
  }
}
session "c" {
  sender_id = "3"
  fcm_v1 {
    credentials = "adc"
    endpoint    = "http://localhost:8080/"
    ca_file     = "fcm.pem"
    connections = 5
    rate        = env("WINDOW")
  }
}
session "d" {
  sender_id = "4"
  fcm_v1 {
    credentials = "adc"
  }
}
plugins {
  dir         = "../plugins"
  max_size    = "7MiB"
  max_entries = 70
}
plugin "echo" {
  categories      = ["x", "*"]
  order           = "key:data.room"
  max_attempts    = 0
  handler_timeout = "7s"
  drain_timeout   = "0s"
  start_timeout   = "9s"
  suspect_after   = 8
  max_in_flight   = 9
  strategy        = "recreate"
  probation       = "10s"
  on_remove       = "keep"
  sha256          = "ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB"
  memory_max      = "64MiB"
  config          = { b = [1, 2.5, true, null], a = { k = "v <&>" } }
  debug           = true
  env             = { HTTPS_PROXY = env("KEY"), lc_all = "" }
  restart_backoff {
    min = "10ms"
    max = "11ms"
  }
}
ledger {
  dedup_window = "12h"
  retention    = "1h"
  disk_soft    = "2MiB"
  disk_hard    = "1MiB"
  ballast      = "0B"
  inodes       = 13
}
admin {
  listen = "unix:run/admin.sock"
  token  = "t"
}
log {
  level  = "debug"
  format = "json"
}
`), func(name string) (string, bool) {
		v, ok := map[string]string{"KEY": "from env", "WINDOW": "50"}[name]
		return v, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		File:    "/etc/balhost/config.hcl",
		DataDir: "/var/lib/balhost", ConnectRate: 60,
		Sessions: []Session{{Name: "a", SenderID: "1", CCS: &CCS{
			Address: "ccs.example:5235", ServerKey: "from env", Connections: 3, MaxConnections: 5, Window: 50,
			TLS:          TLS{CAFile: "/etc/balhost/ca.pem", ServerName: "ccs"},
			PingInterval: time.Second, PingTimeout: 2 * time.Second, AnswerTimeout: 3 * time.Second,
			MaxStanza: 64 << 10, ConnectBackoff: Backoff{5 * time.Millisecond, 6 * time.Millisecond}, AckWarn: 4 * time.Millisecond,
		}}, {Name: "b", SenderID: "2", CCS: &CCS{
			Address: "[::1]:5235", ServerKey: "b", Connections: 1, MaxConnections: 1000, Window: 100,
			PingInterval: 20 * time.Second, PingTimeout: 10 * time.Second, AnswerTimeout: time.Minute,
			MaxStanza: 1 << 20, ConnectBackoff: Backoff{time.Second, 5 * time.Minute}, AckWarn: 100 * time.Millisecond,
		}}, {Name: "c", SenderID: "3", FCMv1: &FCMv1{
			Credentials: "adc", Endpoint: "http://localhost:8080", CAFile: "/etc/balhost/fcm.pem", Connections: 5, Rate: 50,
		}}, {Name: "d", SenderID: "4", FCMv1: &FCMv1{
			Credentials: "adc", Endpoint: "https://fcm.googleapis.com", Connections: 4, Rate: 8000,
		}}},
		PluginsDir: "/etc/plugins", PluginBytes: 7 << 20, PluginEntries: 70,
		Plugins: map[string]Plugin{"echo": {
			Name: "echo", Categories: []string{"x", "*"}, Order: "key:data.room", MaxAttempts: 0,
			HandlerTimeout: 7 * time.Second, DrainTimeout: 0, StartTimeout: 9 * time.Second, RestartBackoff: Backoff{10 * time.Millisecond, 11 * time.Millisecond},
			SuspectAfter: 8, MaxInFlight: 9, Strategy: "recreate", Probation: 10 * time.Second, OnRemove: "keep", SHA256: "abababababababababababababababababababababababababababababababab", MemoryMax: 64 * mib, Debug: true, Config: json.RawMessage(`{"a":{"k":"v <&>"},"b":[1,2.5,true,null]}`),
			Env: Environment{"HTTPS_PROXY": "from env", "lc_all": ""},
		}},
		Ledger: Ledger{DedupWindow: 12 * time.Hour, Retention: time.Hour, DiskSoft: 2 << 20, DiskHard: 1 << 20, Inodes: 13},
		Admin:  Admin{Listen: "unix:/etc/balhost/run/admin.sock", Token: "t"},
		Log:    Log{Level: "debug", Format: "json"},
	}
	compact := cmp.Transformer("json", func(m json.RawMessage) (v any) { _ = json.Unmarshal(m, &v); return v })
	if diff := cmp.Diff(want, cfg, compact); diff != "" {
		t.Error(diff)
	}
	if got := cfg.Plugin("other"); got.MaxAttempts != 15 || got.Name != "other" {
		t.Errorf("a plugin without a block: %+v", got)
	}
}

// One bad value each: what is said, and where.
func TestProblems(t *testing.T) {
	for _, tc := range []struct{ name, src, want string }{
		{"unknown key", least + "data_dri = 1", `8,1-9: Unsupported argument: An argument named "data_dri" is not expected here. Did you mean "data_dir"?`},
		{"unknown block", least + "plugni \"x\" {}", "8,1-7: Unsupported block type"},
		{"duplicate block", least + "log {}\nlog {}", "9,1-4: Duplicate log block"},
		{"duplicate key", least + "data_dir = \"a\"\ndata_dir = \"b\"", "9,1-9: Attribute redefined"},
		{"no session", "", "1,1-1: there is no session block"},
		{"missing keys", "session \"main\" {\n  ccs {}\n}", `2,3-6: session "main" has no address`},
		{"no transport", "session \"main\" {\n  sender_id = \"1\"\n}", `1,1-15: session "main" has no transport: give it a block fcm_v1 { credentials`},
		{"two transports", strings.Replace(least, "  ccs {", "  fcm_v1 {\n    credentials = \"adc\"\n  }\n  ccs {", 1), `3,3-9: session "main" has both ccs and fcm_v1: keep the one`},
		{"twice the same", strings.Replace(least, "  ccs {", "  ccs {}\n  ccs {", 1), "Duplicate ccs block"},
		{"its key in ccs", session(`sender_id = "1"`), "6,5-20: sender_id stands in the session, not in its block ccs: move the line up"},
		{"credentials for ccs", session(`credentials = "adc"`), "credentials is a key of fcm_v1: in ccs write server_key"},
		{"rate for ccs", session("rate = 1"), "rate is a key of fcm_v1, and ccs has nothing like it: remove it"},
		{"server_key for fcm_v1", fcm(`server_key = "k"`), "5,5-21: server_key is a key of ccs: in fcm_v1 write credentials, the text of a service account's key file"},
		{"tls for fcm_v1", fcm("tls {}"), "tls is a key of ccs: in fcm_v1 write ca_file"},
		{"window for fcm_v1", fcm("window = 1"), "window is a key of ccs, and fcm_v1 has nothing like it: remove it"},
		{"unknown for fcm_v1", fcm("rat = 1"), `Did you mean "rate"?`},
		{"no credentials", strings.Replace(fcm(""), "credentials", "# ", 1), `3,3-9: session "main" has no credentials`},
		{"a name as sender", strings.Replace(fcm(""), "482915730064", "courier-7", 1), `sender_id: "courier-7" is no project number: fcm_v1 needs its digits`},
		{"many connections to FCM", fcm("connections = 101"), "connections: 101 is out of range: between 1 and 100"},
		{"no rate", fcm("rate = 0"), "rate: 0 is out of range: between 1 and 100000"},
		{"an endpoint without https", fcm(`endpoint = "http://fcm.googleapis.com"`), `endpoint: "http://fcm.googleapis.com" would send credentials without encryption`},
		{"an endpoint's path", fcm(`endpoint = "https://fcm.googleapis.com/v1/projects/x/messages:send"`), "endpoint: has more than a host and a port: write https://fcm.googleapis.com; the host adds the path"},
		{"an endpoint's password", fcm(`endpoint = "https://me:hunter2@fcm.googleapis.com"`), "endpoint: has more than a host and a port: write https://fcm.googleapis.com;"},
		{"an endpoint without a scheme", fcm(`endpoint = "fcm.googleapis.com:443"`), "endpoint: is no URL: write one like https://fcm.googleapis.com"},
		{"another scheme", fcm(`endpoint = "ftp://fcm.googleapis.com"`), "is no https URL"},
		{"no host", fcm(`endpoint = "https://:443"`), "is no address: its host has an empty part"},
		{"no port", fcm(`endpoint = "https://fcm.googleapis.com:99999"`), "has no port number between 1 and 65535"},
		{"no key file", fcm(`credentials = "service-account.json"`), `credentials: is the name of a file, not its text: write file("…") around it`},
		{"half a key file", fcm(`credentials = "{\"type\": \"service_account\"}"`), "credentials: has no project_id, no client_email, no private_key, no token_uri, so it is half a key file"},
		{"a user's credentials", fcm(`credentials = "{\"type\": \"authorized_user\"}"`), `credentials: has the type "authorized_user", not "service_account": write credentials = "adc"`},
		{"no credentials in it", fcm(`credentials = ""`), "credentials: is empty: download a key file"},
		{"a number as credentials", fcm("credentials = 1"), "credentials: want a string in quotes, not a number"},
		{"same label", least + strings.Replace(least, "482915730064", "2", 1), `8,1-15: session label "main" is already used by the session at config.hcl:1,1-15`},
		{"same sender", least + strings.Replace(least, "main", "two", 1), `8,1-14: sender_id "482915730064" is already used by the session at config.hcl:1,1-15`},
		{"bad label", strings.Replace(least, "main", "a b", 1), `1,1-14: session label "a b"`},
		{"bad address", strings.Replace(least, ":5236", "", 1), `4,5-29: address: "127.0.0.1" is not an address: write host:port`},
		{"bad port", strings.Replace(least, "5236", "0", 1), `address: "127.0.0.1:0" has no port number between 1 and 65535`},
		{"bad sender", strings.Replace(least, "482915730064", "x@y", 1), `2,3-20: sender_id: "x@y" can't be a sender id`},
		{"empty key", strings.Replace(least, `"k"`, `""`, 1), "5,5-20: server_key: is empty"},
		{"a key as an error shows it", strings.Replace(least, `"k"`, `"…"`, 1), "server_key: is not filled in"},
		{"missing variable", strings.Replace(least, `"k"`, `env("NOPE")`, 1), "the environment variable NOPE is not set; set it, or give env a default as its second argument"},
		{"missing file", strings.Replace(least, `"k"`, `file("nope")`, 1), ": file(): stat "},
		{"too many connections", session("connections = 1001"), "connections: 1001 is out of range"},
		{"no place for its connections", session("connections = 4\nmax_connections = 3"), "max_connections: 3 is less than connections (4)"},
		{"stanzas that the ledger can't hold", session(`max_stanza = "2MiB"`), "max_stanza: 2MiB is out of range"},
		{"no connection ever", least + "\nconnect_rate = 0", "connect_rate: 0 is out of range"},
		{"wide window", session("window = 101"), "window: 101 is out of range: between 1 and 100"},
		{"fraction", session("window = 1.5"), "window: want a whole number between 1 and 100"},
		{"text for a number", session(`window = "many"`), "window: want a whole number, not a string"},
		{"number for a duration", session("ping_interval = 20"), `ping_interval: want a duration in quotes like "20s", "5m" or "1h30m", not a number`},
		{"no unit", session(`ping_interval = "20"`), `ping_interval: "20" is not a duration`},
		{"negative", session(`ping_interval = "-20s"`), "ping_interval: -20s is out of range: between 1ms and 24h0m0s"},
		{"bad size", session(`max_stanza = "1MB"`), `max_stanza: "1MB" is not a size: write one like "512KiB"`},
		{"huge size", session(`max_stanza = "9223372036854775807TiB"`), "is not a size"},
		{"small stanza", session(`max_stanza = "1KiB"`), "max_stanza: 1KiB is out of range: between 16KiB and 1MiB"},
		{"backoff", session("connect_backoff {\n min = \"2s\"\n max = \"1s\"\n}"), "min (2s) is more than max (1s)"},
		{"disk", least + "ledger {\n  disk_hard = \"2GiB\"\n}", "8,1-7: disk_hard (2GiB) is more than disk_soft (1GiB)"},
		{"order", plugin(`order = "key:"`), `order: order "key:": a name in the path is empty`},
		{"categories", plugin(`categories = "x"`), `categories: want a list of strings like ["a", "b"], not a string`},
		{"category", plugin(`categories = ["x", 1]`), "but it has a number in it"},
		{"config", plugin(`config = "x"`), `config: want an object like { greeting = "hello" }, not a string`},
		{"config number", plugin(`config = { n = 1e99999 }`), "config: a number is too large or too small to be one in JSON"},
		{"env", plugin(`env = "x"`), `env: want an object like { HTTPS_PROXY = "http://proxy:3128" }, not a string`},
		{"env name", plugin(`env = { "A B" = "x" }`), `env: "A B" can't be a variable's name`},
		{"env digit", plugin(`env = { "1A" = "x" }`), `env: "1A" can't be a variable's name`},
		{"env assigned", plugin(`env = { "A=B" = "x" }`), `env: "A=B" can't be a variable's name`},
		{"env empty", plugin(`env = { "" = "x" }`), `env: "" can't be a variable's name`},
		{"env value", plugin(`env = { A = 1 }`), `env: A: want a string in quotes, not a number`},
		{"env null", plugin(`env = { A = null }`), `env: A: want a string in quotes, not null`},
		{"env zero", plugin(`env = { A = "a\u0000b" }`), `env: A: a variable can't have a zero byte in it`},
		{"env long", plugin(`env = { A = "` + strings.Repeat("a", 128<<10) + `" }`), `env: A: is longer than 127KiB`},
		{"env ours", plugin(`env = { BALHOST_INSTANCE = "x" }`), `env: BALHOST_INSTANCE is this host's own: leave it out`},
		{"env theirs", plugin(`env = { PLUGIN_MIN_PORT = "x" }`), `env: PLUGIN_MIN_PORT is go-plugin's own`},
		{"env systemd", plugin(`env = { NOTIFY_SOCKET = "x" }`), `env: NOTIFY_SOCKET is between systemd and the host`},
		{"env unset", plugin(`env = { A = env("NOPE") }`), `the environment variable NOPE is not set`},
		{"same plugin", least + "plugin \"x\" {}\nplugin \"x\" {}", `plugin "x" already has a block at config.hcl:8,1-11`},
		{"plugin path", least + `plugin "../x" {}`, `plugin label "../x": give the name of a file in the plugins folder`},
		{"plugin leftover", least + `plugin "echo.bak" {}`, `plugin label "echo.bak": give the name of a file in the plugins folder; a plugin's name has only letters`},
		{"adopts", plugin(`adopts = ["a"]`), "9,3-17: adopts: not supported by this version of balhost"},
		{"strategy", plugin(`strategy = "hope"`), `strategy: "hope" is not one of handover, recreate`},
		{"on_remove", plugin(`on_remove = "cry"`), `on_remove: "cry" is not one of stop, keep`},
		{"probation", plugin(`probation = "-1s"`), "probation: -1s is out of range"},
		{"sha256", plugin(`sha256 = "abc"`), `sha256: "abc" is not a sha256: give 64 hex digits`},
		{"memory_max", plugin(`memory_max = "1MiB"`), "memory_max: 1MiB is less than an empty plugin needs"},
		{"open admin", least + "admin {\n  listen = \":8765\"\n}", "9,3-19: listen: :8765 can be reached from other machines, so the admin block needs a token"},
		{"level", least + "log {\n  level = \"loud\"\n}", `level: "loud" is not one of trace, debug, info, warn, error`},
		{"not hcl", least + "{", "8,1-2: Argument or block definition required"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse("config.hcl", []byte(tc.src), noEnv)
			if err == nil {
				t.Fatal("taken")
			}
			if !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "config.hcl:") {
				t.Errorf("want …%s…, got\n%v", tc.want, err)
			}
		})
	}
}

func session(line string) string {
	return strings.Replace(least, "  }\n", "    "+line+"\n  }\n", 1)
}

// fcm is a file with a session by fcm_v1. If line has credentials, they are the only ones.
func fcm(line string) string {
	credentials := "    credentials = \"adc\"\n"
	if strings.HasPrefix(line, "credentials") {
		credentials = ""
	}
	return "session \"main\" {\n  sender_id = \"482915730064\"\n  fcm_v1 {\n" + credentials + "    " + line + "\n  }\n}\n"
}

func plugin(line string) string { return least + "plugin \"x\" {\n  " + line + "\n}\n" }

// What no address, name or key can be is said by check, not by the first
// connection that fails.
func TestAddressesThatCanBeNone(t *testing.T) { // P10
	address := func(a string) string { return strings.Replace(least, "127.0.0.1:5236", a, 1) }
	name := func(n string) string { return session("tls {\n server_name = \"" + n + "\"\n}") }
	listen := func(l string) string {
		return least + "admin {\n listen = \"" + l + "\"\n token = \"t\"\n}\n"
	}
	key := func(k string) string { return strings.Replace(least, `"k"`, `"`+k+`"`, 1) }
	sender := func(s string) string { return strings.Replace(least, "482915730064", s, 1) }
	for _, tc := range []struct{ src, want string }{
		{address(""), `address: "" is not an address`},
		{address(" 127.0.0.1:5236"), `has a space in it`},
		{address("127.0.0.1 :5236"), `has a space in it`},
		{address("127.0.0.1: 5236"), `has a space in it`},
		{address("127.0.0.1:5236 "), `has a space in it`},
		{address(`127.0.0.1:5236\n`), `has a line break in it`},
		{address(`ccs\tx:5236`), `has a space in it`},
		{address(`ccs\u0000:5236`), `has a character that can't be seen in it`},
		{address(`ccs\u200b:5236`), `has a character that can't be seen in it`},
		{address(`ccs\u00a0:5236`), `has a space in it`},
		{address(":5236"), `names no host`},
		{address("[]:5236"), `has brackets`},
		{address("[ccs.example]:5236"), `has brackets`},
		{address("::1:5236"), `write an IPv6 address in brackets`},
		{address("[::1"), `is not an address: write host:port`},
		{address("[::1]"), `is not an address: write host:port`},
		{address("[::g]:5236"), `has colons but is no IPv6 address`},
		{address("ccs:65536"), `has no port number`},
		{address("ccs:-1"), `has no port number`},
		{address("ccs:+5236"), `has no port number`},
		{address("ccs:xmpp"), `has no port number`},
		{address("ccs:"), `has no port number`},
		{address("https://ccs.example:5236"), `is a URL`},
		{address("xmpp://ccs.example:5236"), `is a URL`},
		{address("ccs.example:5236/"), `has no port number`},
		{address("me@ccs.example:5236"), `its host has a part that is not allowed`},
		{address("ccs..example:5236"), `its host has an empty part`},
		{address("-ccs:5236"), `its host has a part that is not allowed`},
		{address("*.example:5236"), `its host has a part that is not allowed`},
		{address("256.0.0.1:5236"), `looks like an IPv4 address but is not one`},
		{address("127.1:5236"), `looks like an IPv4 address but is not one`},
		{address("münchen.example:5236"), `xn--`},
		{address(strings.Repeat("a", 64) + ":5236"), `its host has a part that is not allowed`},
		{address(strings.Repeat("a.", 127) + "a:5236"), `longer than the 253`},
		{name("local host"), `server_name: "local host" has a space`},
		{name("localhost:5236"), `server_name: "localhost:5236" has a port`},
		{name("[::1]:5236"), `has a port`},
		{name("https://localhost"), `can't be a server's name`},
		{name("*.example"), `can't be a server's name`},
		{name(`localhost\n`), `has a line break`},
		{listen("127.0.0.1: 8765"), `listen: "127.0.0.1: 8765" has a space`},
		{listen("http://127.0.0.1:8765"), `is a URL`},
		{listen("127.0.0.1:99999"), `has no port number`},
		{listen("127.0.0:8765"), `looks like an IPv4 address but is not one`},
		{listen("unix:" + strings.Repeat("x", 200)), `choose a shorter one`},
		{listen(`unix:a\nb`), `has a control character`},
		{sender(""), `can't be a sender id`},
		{sender(`1\u00a02`), `can't be a sender id`},
		{sender(`12\u200b`), `can't be a sender id`},
		{key(`k\n`), `server_key: begins or ends with a space or a line break`},
		{key(` k`), `server_key: begins or ends with`},
		{key(`k\u0000k`), `server_key: has a control character`},
		{strings.Replace(listen("127.0.0.1:0"), `"t"`, `"t\n"`, 1), `token: begins or ends with`},
	} {
		_, err := Parse("config.hcl", []byte(tc.src), noEnv)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("want …%s…, got %v, of\n%s", tc.want, err, tc.src)
		} else if n := len(err.(*Error).Problems); n != 1 {
			t.Errorf("%d problems for one mistake: %v", n, err)
		}
	}
	for _, src := range []string{
		address("ccs.example.:5235"), address("fcm-xmpp.googleapis.com:05235"), address("[fe80::1%eth0]:1"), address("my_service:65535"), address("a1:1"),
		address("3com.example:1"), address("LOCALHOST:1"), name("::1"), name("127.0.0.1"), name("ccs.example"), listen(":8765"), listen("[::]:0"), listen("unix:/run/x.sock"),
		key("a key with spaces"), sender("Straße"),
	} {
		if _, err := Parse("config.hcl", []byte(src), noEnv); err != nil {
			t.Errorf("%v", err)
		}
	}
}

// All problems come at once, in the file's order, each with its line.
func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Parse("config.hcl", []byte(`data_dri = "x"
session "main" {
  ccs {
    address = 5
    window  = 0
  }
}
log {
  level = "loud" # of course
}
`), noEnv)
	want := `config.hcl:1,1-9: Unsupported argument: An argument named "data_dri" is not expected here. Did you mean "data_dir"?
    data_dri = "x"
config.hcl:2,1-15: session "main" has no sender_id
    session "main" {
config.hcl:3,3-6: session "main" has no server_key
    ccs {
config.hcl:4,5-16: address: want a string in quotes, not a number
    address = 5
config.hcl:5,5-16: window: 0 is out of range: between 1 and 100
    window  = 0
config.hcl:9,3-17: level: "loud" is not one of trace, debug, info, warn, error
    level = "loud" # of course`
	if err == nil || err.Error() != want {
		t.Errorf("%s", cmp.Diff(want, fmt.Sprint(err)))
	}
	var e *Error
	if !errors.As(err, &e) || len(e.Problems) != 6 {
		t.Errorf("want an *Error with 6 problems, got %T", err)
	}
}

// What an error prints is not what a person wrote into the file as a secret.
func TestSecretsDoNotPrint(t *testing.T) {
	for _, src := range []string{
		session(`window = 0, server_key = "hunter2"`),
		"session \"main\" {\n  server_key = [\"hunter2\"]\n}",
		"session \"main\" { server_key = [\"hunter2\"] }",
		"session \"main\" { ccs { server_key = [\"hunter2\"] } }",
		"session \"main\" {\n  address = \"ccs:1\"\n  server_key = \"hunter2\"\n}",
		"session \"main\" {\n  address = \"ccs:1\"\n  server_key = \"hunter2${1}\"\n}",
		fcm(`credentials = "hunter2"`),
		fcm(`credentials = "{\"type\": \"service_account\", \"private_key\": \"hunter2\"}"`),
		fcm("credentials = <<END\n{\"private_key\":\n\"hunter2\"}\nEND"),
		"session \"main\" {\n  server_key = \"hunter2\n}",
		plugin(`config = [{ api_key = "hunter2" }]`),
		plugin(`config = [{ "Password": "hunter2" }]`),
		"admin {\n  token = {a=\"hunter2\"}\n}",
	} {
		_, err := Parse("config.hcl", []byte(src), noEnv)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s\ngave: %v", src, err)
		}
	}
	s := struct{ Key Secret }{"hunter2"}
	b, _ := json.Marshal(s)
	for _, got := range []string{fmt.Sprint(s), fmt.Sprintf("%+v %#v %s %q %x", s, s, s.Key, s.Key, s.Key), string(b), fmt.Sprint(&s)} {
		if strings.Contains(got, "hunter2") || strings.Contains(got, "68756e74657232") {
			t.Errorf("printed: %s", got)
		}
	}
	if s.Key.Reveal() != "hunter2" {
		t.Error("Reveal hides too")
	}
}

func TestLoadReadsFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.hcl")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "key"), "the key\n")
	write(path, strings.Replace(least, `"k"`, `file("key")`, 1))
	cfg, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Sessions[0].CCS.ServerKey.Reveal(); got != "the key" {
		t.Errorf("server_key is %q", got)
	}
	if cfg.DataDir != filepath.Join(dir, "data") {
		t.Errorf("data_dir is %s", cfg.DataDir)
	}
	write(path, "data_dri = 1\nsession \"main\" {\n  server_key = env(\"NOT_SET_HERE\")\n}\nadmin {\n  listen = \"127.0.0.1:1\"\n}\n")
	if admin, err := LoadAdmin(path); err != nil || admin.Listen != "127.0.0.1:1" {
		t.Errorf("the admin block alone: %+v %v", admin, err)
	}
	if _, err := LoadData(path); err == nil || !strings.Contains(err.Error(), `"data_dri" is not expected`) {
		t.Errorf("a misspelled data_dir: %v", err)
	}
	write(path, "data_dir = \"d\"\nsession \"main\" {\n  server_key = env(\"NOT_SET_HERE\")\n}\nledger {\n  disk_soft = \"2GiB\"\n}\n")
	if cfg, err := LoadData(path); err != nil || cfg.DataDir != filepath.Join(dir, "d") || cfg.Ledger.DiskSoft != 2<<30 {
		t.Errorf("the ledger alone: %+v %v", cfg, err)
	}
	write(path, strings.Repeat("#\n", maxFile))
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "is longer than 64 KiB") {
		t.Errorf("a file that is too long: %v", err)
	}
	if _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// P10: no text makes the parser panic or run off the stack, and what is
// refused is refused with a place.
func FuzzParse(f *testing.F) {
	src, err := os.ReadFile(shipped)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(src)
	f.Add([]byte(least))
	f.Add([]byte(fcm("rate = 1")))
	f.Add([]byte("session \"main\" {\n  address = \"a:1\"\n  tls {}\n}"))
	f.Add([]byte(plugin(`config = { a = [for x in [1, 2] : "${x}" if x > 1], b = <<EOT` + "\nx\nEOT\n}")))
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 4<<10 {
			return // the depth of the recursion has its own test
		}
		cfg, err := Parse("config.hcl", src, noEnv)
		var e *Error
		if err != nil && (!errors.As(err, &e) || len(e.Problems) == 0) {
			t.Fatalf("want an *Error with problems, got %v", err)
		}
		if err == nil && (len(cfg.Sessions) == 0 || !usable(cfg.Sessions[0])) {
			t.Fatalf("taken, but unusable: %+v", cfg)
		}
	})
}

func usable(s Session) bool {
	if s.Transport() == message.FCMv1 {
		return s.CCS == nil && s.FCMv1.Connections > 0 && s.FCMv1.Endpoint != "" && s.FCMv1.Credentials != ""
	}
	return s.FCMv1 == nil && s.CCS.Window > 0 && s.CCS.Address != ""
}

// P10: a file of the greatest size in which almost every byte is a problem. The
// cost of a problem must not grow with the length of its line: this took an hour.
func TestGarbage(t *testing.T) {
	for _, bad := range []string{"@ ", "\v", "\n\v", "\xaa", "`", "a=", "\"", "${", "\n= "} {
		src := `n "m" ` + strings.Repeat(bad, (maxFile-6)/len(bad))
		_, err := Parse("config.hcl", []byte(src), noEnv)
		e, ok := errors.AsType[*Error](err)
		if !ok || len(e.Problems) == 0 || len(e.Problems) > maxProblems+1 {
			t.Fatalf("%q: want up to %d problems, got %.200v", bad, maxProblems, err)
		}
		if n := len(e.Error()); n > maxProblems*1000 {
			t.Errorf("%q: the error has %d bytes", bad, n)
		}
	}
	_, err := Parse("config.hcl", []byte(strings.Repeat("@\n", 150)), noEnv)
	if e, ok := errors.AsType[*Error](err); !ok || !strings.HasSuffix(e.Problems[maxProblems].Text, "more problems follow these") {
		t.Errorf("want a last line about the problems that are not listed, got %.200v", err)
	}
}

// P10: the deepest nesting that a file of the greatest size can hold.
func TestDeepNesting(t *testing.T) {
	for _, open := range []string{"[", "(", "{a=", "-", "!", "1?1:", "a{", "\"${", "a["} {
		src := least + "data_dir = " + strings.Repeat(open, (maxFile-len(least)-20)/len(open))
		if _, err := Parse("config.hcl", []byte(src), noEnv); err == nil {
			t.Errorf("%q, nested: taken", open)
		}
	}
}
