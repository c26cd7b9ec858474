// Package sdk is all that a plugin author needs: a plugin is a [Plugin] value
// with handlers, given to [Serve] in main. The file it is built into is dropped
// into the host's plugins folder under the name in Plugin.Name.
//
//	func main() {
//		sdk.Serve(sdk.Plugin{
//			Name:       "echo",
//			Version:    "1.0.0",
//			Categories: []string{"com.example.echo"},
//			Upstream: func(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error {
//				_, err := tx.Send(sdk.Downstream{To: sdk.Token(m.From), Data: m.Data})
//				return err
//			},
//		})
//	}
//
// What the host promises to a handler: every event reaches it until it has said
// that it is done (P8); what it did through its [Tx] is committed together with
// that, all or nothing (P7); events of one lane come one after the other (P5).
// So a handler keeps no books of its own: it returns nil when it is done, and
// an error when it wants the event again.
//
// The SDK runs each handler on a goroutine of its own, at most
// Plugin.MaxInFlight at once; Run has one too. Start at [Plugin] and [Tx]; test
// with package plugintest.
//
// # Environment
//
// A plugin's process has few of the host's variables: PATH, HOME, TZ, LANG and
// TMPDIR. HTTPS_PROXY, SSL_CERT_FILE, GOMEMLIMIT and others are not set, unless
// the plugin's block in config.hcl gives them: env = { HTTPS_PROXY = "…" }. They
// are the same for as long as the process lives: a change starts a new one.
//
// # Lanes
//
// Different lanes are handled at the same time. An upstream's lane is its device
// or its key, as [Plugin].Order says, or with [OrderNone] its own. Outcomes and
// receipts of downstreams with a Group share the lane of that group, per session;
// without a group each is alone. No outcome or receipt shares a lane with an
// upstream: Outcome can run while Upstream handles a message of the same device.
//
// So two handlers can meet on one key of the plugin's state. When a key that a
// handler has read with [Tx].Get was changed by another commit before its own,
// nothing of it is committed, and it runs again from its start and reads the new
// value, at once and as the same attempt. While it does, the host has other commits
// of its keys wait, so it seldom runs a third time; and where that happened lately,
// a Get may wait until the handler before has ended. A key that is put without
// having been read is not compared: the last commit counts. What many lanes read
// and write, such as one counter for all devices, is handled one after the other:
// give lanes their own keys, and keep a handler short that reads what others write.
//
// # How a plugin ends
//
// The host ends a plugin, and nothing else does as long as it lives: [Serve] goes
// on at SIGTERM, SIGINT and SIGHUP, which service managers and terminals send to
// everybody. The host drains first: no new events come, handlers have until the
// plugin's drain_timeout (10 s at most when the host itself stops), and their
// contexts end at four fifths of it. The context of Run ends at once. When both
// have ended, [Plugin].Stop runs, and the session is over. Then the host asks the
// process to exit, which is when Serve returns; after 2 s it sends SIGTERM, after
// 2 s more SIGKILL, to all processes that the plugin has started as well. When the
// host is killed, so is the plugin on Linux; elsewhere it exits 5 s later. There
// is no need to handle signals, and none to call os.Exit.
package sdk
