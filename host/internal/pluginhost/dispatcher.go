package pluginhost

import (
	"encoding/json"
	"time"

	"balhost/host/internal/instance"
)

// Dispatcher is what pluginhost needs from whoever gives plugins their events.
type Dispatcher interface {
	// Described: a process's session is open and its categories are known, so its
	// claims count from now on. It is being configured and gets no events yet; but
	// its Start may already call, and is answered through p.Send. What it returns
	// hears of the rest of the process's life.
	Described(facts instance.Facts, p instance.Process) instance.Dispatch
	// Removed: the plugin's file is gone, and so is its process.
	Removed(name string)
	// Booted is called once: every plugin that was in the folder at the start
	// has been Described or has failed, or has had 15 s for it.
	Booted()
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
	DrainTimeout   time.Duration   // for Drain, unless the host stops sooner
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
