// Package sdk is what a plugin author needs. A plugin is a [Plugin] value with
// handlers, and main gives it to [Serve]. Build it into a file whose name is
// Plugin.Name, and put that file into the host's plugins folder.
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
// The host promises to a handler:
//
//   - Every event reaches it, again and again, until it has returned nil or has
//     rejected the event (P8).
//   - What it did through its [Tx] is committed together with the end of the
//     event, all or nothing (P7).
//   - Events of one lane come one after the other (P5).
//
// So a handler keeps no books of its own. It returns nil when it is done, and an
// error when it wants the event again.
//
// The SDK runs each handler on a goroutine of its own, and at most
// Plugin.MaxInFlight handlers at once. Run has its own goroutine too. Start at
// [Plugin] and [Tx]. Test your plugin with package plugintest.
//
// # Environment
//
// A plugin's process gets only these variables of the host: PATH, HOME, TZ, LANG
// and TMPDIR. All others are not set, HTTPS_PROXY, SSL_CERT_FILE and GOMEMLIMIT
// for example. The plugin's block in config.hcl can set them:
// env = { HTTPS_PROXY = "…" }. They never change while the process lives. When
// the config changes them, the host starts a new process.
//
// # Secrets
//
// So a secret comes to a plugin by its block in config.hcl, as a variable or as a part of its
// config:
//
//	plugin "shop" {
//	  env    = { PAY_API_KEY = env("PAY_API_KEY") }       # os.Getenv("PAY_API_KEY")
//	  config = { pay = { key = file("pay-api-key.txt") } } # a field of Plugin.Config
//	}
//
// The host shows the values of both nowhere. When one changes, a reload of the config starts
// a new process with it, which takes over as a new version does. A plugin should not log
// them either.
//
// # Limits
//
// One handler commits at most [MaxChanges] downstreams, timers and keys, and
// [MaxChangeBytes] of them. A key that is read, listed or written counts one for each of
// these, and a List counts one more. A key has at most [MaxKey] bytes, a value [MaxValue].
// A call that goes over a limit returns [ErrInvalid] at once. Larger work is cut: a handler
// does a part, and goes on with the rest by a timer that it sets, or in Run.
//
// # Lanes
//
// A lane is a line of events that are handled one after the other. Different
// lanes are handled at the same time.
//
//   - Upstreams: [Plugin].Order decides. The lane is the device, or a key of the
//     payload. With [OrderNone] each upstream has a lane of its own.
//   - Outcomes and receipts of downstreams with a Group: one lane for each group
//     and session. Without a Group each has a lane of its own.
//
// An outcome or receipt never shares a lane with an upstream. So Outcome can run
// while Upstream handles a message of the same device.
//
// Two handlers can use one key of the plugin's state at the same time. A handler
// reads a key with [Tx].Get. If another commit changes that key before the handler's
// own commit, nothing of the handler is committed. The handler runs again at once,
// from its start, and reads the new value. This counts as no attempt. During the
// second run the host makes other commits of these keys wait, so a third run is
// rare. If this happened to a key in the last seconds, Get may wait until the handler
// that uses the key has ended. For [Tx].List all keys under its prefix are such a key: also
// one that comes or goes there makes the handler run again.
//
// A key that was put without having been read is not compared: the last commit
// wins. Handlers that read and write one common key, such as one counter for all
// devices, run one after the other. So give lanes their own keys. A handler that
// reads what others write should be short.
//
// # Later downstreams
//
// A Downstream with NotBefore is stored now and goes out then; its TTL begins then. The
// host keeps the moment by a clock of its own, which nobody sets. In a Group the order
// wins: those behind it wait for it, while their own TTL passes.
//
// While it has not gone out, Tx.CancelSend and Host.Cancel end it, and a newer one with
// the same Replace, session and target takes its place. It has gone out once the host has
// handed it to a connection, or to a device that is connected to the gateway, even if it
// comes back for another attempt. Either it goes out or it is Canceled, never both. What
// goes out is not stored, so after a restart of the host all counts as gone out whose time
// had come; of these a newer one with the same Replace replaces none, and both go.
//
// # Transports
//
// A session speaks CCS or FCM's HTTP v1, and may have a gateway beside, or alone.
// [Host].Transport says which. If a session's transport cannot carry a downstream, Send
// returns ErrInvalid at once, with all reasons.
//
//	                           CCS            FCM's HTTP v1                        gateway alone
//	Token                      yes            yes                                  yes
//	Topic                      yes            yes                                  no
//	FID                        no             yes                                  yes
//	Condition                  3 topics       5 topics                             no
//	Options                    yes            yes                                  not DryRun
//	Options.Android, APNS,     no             yes: known fields, in snake_case     no
//	  Webpush
//	Notification               any key        the keys of message.NotificationKeys any key
//	keys of Data               any            not bal_id, bal_seq, bal_receipt     not these
//	4,096 bytes (2,048 to      Data and       the same, with the host's keys in    Data and
//	  a topic)                 Notification   Data (bal_id is 6 bytes and the id)  Notification
//	                                          and the text of apns.payload
//	receipts                   from CCS       from the app, which bal_receipt asks from the app
//	Outcome.NewToken           perhaps        never                                never
//
// A device that is connected to the session's gateway gets its downstreams there, whatever
// the session has beside it. It is known by the From of its upstreams: [Token] and [FID] of that
// text both reach it. With a gateway alone a downstream waits for its device until its TTL ends.
// A session with Huawei's uplink alone takes no downstream.
//
// Reserved in Data everywhere: from, message_type, and all keys that begin with google
// or gcm. U+FFFE and U+FFFF must be escaped (\ufffe) for CCS, because XML cannot carry
// them.
//
// FCM's HTTP v1 may deliver a message twice. The host puts the message's id into Data as
// bal_id, so that the app can drop what it has seen. Messages of one Group have bal_seq
// too, a number that grows.
//
// An installation of an app answers to its registration token or to its Firebase
// installation id, never to both. It depends on how the app registers, and nobody can
// tell it from the text. So store which kind the app gave, and use [Token] or [FID].
//
// [Outcome].Gone says that the target does not exist any more, or is of the wrong kind.
// Forget it. The codes of the transports differ, and Gone does not.
//
// # How a plugin ends
//
// Only the host ends a plugin. Service managers and terminals send SIGTERM, SIGINT
// and SIGHUP to all processes at once. While the host is connected, [Serve]
// ignores them. So don't handle signals, and don't call os.Exit. The host ends a
// plugin in this order:
//
//  1. No new events come, and the context of Run ends.
//  2. Running handlers may finish within the plugin's drain_timeout (at most 10 s
//     if the host itself stops). Their contexts end after four fifths of it.
//  3. When Run and all handlers have ended, [Plugin].Stop runs. Then the plugin
//     closes its connection to the host.
//  4. The host asks the process to exit, and Serve returns. If the process still
//     lives after 2 s, the host sends SIGTERM, and SIGKILL after 2 s more, also to
//     all processes that the plugin has started.
//
// If the host is killed, the plugin is killed too on Linux. On other systems it
// exits 5 s later.
package sdk
