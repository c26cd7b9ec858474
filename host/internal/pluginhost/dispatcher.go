package pluginhost

import (
	"context"
	"encoding/json"
	"time"

	"balhost/sdk/wire"
)

// Dispatcher is what pluginhost needs from whoever gives plugins their events.
// The calls about one instance come one after the other in this order:
// Described, Ready, Drain, Gone; each at most once, Gone always when Described
// was. Frame comes between Described and Gone, from the goroutine that reads
// the session, so it runs beside the others. Instances of one name overlap: the
// new one is Ready before the old one's Drain (P9), and a Trier is beside both.
type Dispatcher interface {
	// Described: p's session is open and its categories are known, so its
	// claims count from now on. It is being configured and gets no events yet;
	// but its Start may already call, and is answered through p.Send.
	Described(p *Instance)
	// Ready: p is configured and takes events from now on, in place of the
	// instance of its name that took them before; a Trier takes suspects.
	Ready(p *Instance)
	// Frame is one frame from p. It must not block for long: p's next frame waits.
	Frame(p *Instance, f *wire.PluginFrame)
	// Drain gives p nothing more, sends it the drain frame, and returns nil when
	// p holds nothing and has said drained, else ctx's error at its end.
	// It returns early when p's session ends, which Gone follows.
	Drain(ctx context.Context, p *Instance) error
	// Results tells what came of p's events so far.
	Results(ctx context.Context, p *Instance) (Results, error)
	// Gone: p's process has exited and was awaited, and no frame of it comes any
	// more: what it held may be given out again (P5). reason is for people.
	Gone(p *Instance, reason string)
	// Removed: the plugin's file is gone, and so is its process.
	Removed(name string)
	// Settled is called once: every plugin that was in the folder at the start
	// has been Described or has failed, or has had 15 s for it.
	Settled()
}

// Results are what came of the events that one process was handed.
type Results struct {
	Handled uint64
	Failed  uint64    // errors, panics and timeouts; not rejections
	Old     uint64    // of these, of events that had failed before they came to this process
	Holds   int       // handed out, and nothing came of it yet
	Oldest  time.Time // when the one of these that waits longest was handed out
	Stuck   int       // of these, handlers that went on after their time was up
	Ended   int       // of these, of events that another process did not let go of until it was ended
}

// Instance is one process of a plugin, as long as it lives. Its address is its
// identity; the fields don't change.
type Instance struct {
	Name    string // the file's
	Version string // as the plugin says
	SHA256  string // of the file, in hex
	PID     int
	Content string // names SHA256 and the options that it was started with
	// Manifest is what the plugin said about itself.
	Manifest *wire.Manifest
	// Options are in force: Categories and Order hold the plugin's own where
	// the config says nothing.
	Options PluginOptions
	// FromConfig: Options.Categories come from the config.
	FromConfig bool
	// Send queues a frame and never blocks; after the session's end it does nothing.
	Send func(*wire.HostFrame)
	// Kill ends the process as hung or broken and returns at once; Gone
	// follows, then a restart after a backoff. The reason goes to the status.
	Kill func(reason string)
	// Trier: it is a second process of what serves, for suspects only. It never
	// gets to run Plugin.Run.
	Trier bool
	// StartTrier asks for such a process; Described and Ready follow, or nothing
	// when it can't be had now. It returns at once.
	StartTrier func()
	// Retire drains and stops the process, which is a Trier; Drain and Gone
	// follow. It returns at once.
	Retire func()
	// Closed is closed when the session has ended: nothing that is sent
	// arrives any more. Gone follows.
	Closed <-chan struct{}
}

// Strategy says how a new process of a plugin follows the old one.
type Strategy string

// The strategies.
const (
	Handover Strategy = "handover" // the new one starts and proves itself beside the old one
	Recreate Strategy = "recreate" // the old one ends first, for plugins that can't run twice
)

// PluginOptions are one plugin's settings from the config, defaults filled in.
type PluginOptions struct {
	Categories     []string        // overrides what the plugin declares; nil: doesn't
	Order          string          // the same; "none", "device" or "key:PATH"; "": doesn't
	MaxAttempts    int             // then dead letters; 0: for ever
	HandlerTimeout time.Duration   // of one attempt at one event
	DrainTimeout   time.Duration   // for Dispatcher.Drain, unless the host stops sooner
	MaxInFlight    int             // events held by the plugin at most
	SuspectAfter   int             // crashes with one event in flight until it is suspect
	RestartMin     time.Duration   // backoff after the first crash
	RestartMax     time.Duration   // and at most
	Probation      time.Duration   // new content is watched for so long; 0: not at all
	Strategy       Strategy        // how one process follows another
	KeepRemoved    bool            // a plugin whose file was removed runs on
	SHA256         string          // hex: no other content is taken; "": any is
	MemoryMax      int64           // bytes of the process group, then it is killed; 0: no limit
	Config         json.RawMessage // the plugin's own config object; nil without one
	// Env are variables beside those that every plugin gets. They may be secrets:
	// nothing shows them. Empty, it is no part of the fingerprint, as before it was there.
	Env map[string]string `json:",omitempty"`
}
