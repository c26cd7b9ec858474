package pluginhost

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
)

// Options are what a [Host] needs.
type Options struct {
	// Dir is the folder that plugins are dropped into. It may be missing; it is
	// looked for again.
	Dir string
	// DataDir has the private copies and the sockets, in folders of this package's
	// own. Only one host may use it at a time, since the start removes what a killed
	// host has left there. The ledger's lock sees to that.
	DataDir string
	// DiskSoft is how many bytes staging a plugin leaves free on the disk of
	// DataDir: the ledger's soft limit; default 64 MiB.
	DiskSoft int64
	// Bounds are what a plugin's file or folder may have; zero: artefact.Usual.
	Bounds Bounds
	// Version is the host's, told to plugins.
	Version string
	// Sessions are the host's now: plugins are told their names and transports. nil:
	// they are told nothing. See [Host.SessionsChanged].
	Sessions func() entry.Senders
	// Plugin gives the options for the plugin of a name, defaults filled in.
	Plugin func(name string) PluginOptions
	// Dispatcher gets the plugins that are ready.
	Dispatcher Dispatcher
	// StopTimeout bounds the draining of all plugins when the host stops;
	// default 10 s. Ending the processes takes up to 4 s more.
	StopTimeout time.Duration
	// Log takes the host's and the plugins' lines. Plugins are told its level.
	Log hclog.Logger
	// Metrics may be nil.
	Metrics prometheus.Registerer
	// Feed hears what becomes of plugins; nil: nobody does.
	Feed *feed.Hub
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
	MemoryMax      int64           // bytes of all its processes, then it is killed; 0: no limit
	Config         json.RawMessage // the plugin's own config object; nil without one
	// StartTimeout is for each step of a start: the handshake, each of the first
	// answers, and Configure; 0: 30 s. It counts from the next start on, so it is no
	// part of the fingerprint.
	StartTimeout time.Duration `json:"-"`
	// Debug: a person may stop it in a debugger. See debugged. False, it is no part of
	// the fingerprint, as before it was there.
	Debug bool `json:",omitempty"`
	// Env are variables beside those that every plugin gets. They may be secrets:
	// nothing shows them. Empty, it is no part of the fingerprint, as before it was there.
	Env map[string]string `json:",omitempty"`
}

// filled are the options with what must not be zero.
func (o PluginOptions) filled() PluginOptions {
	if o.Debug {
		o = o.debugged()
	}
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 30*time.Second)
	o.RestartMin = cmp.Or(o.RestartMin, time.Second)
	o.RestartMax = max(cmp.Or(o.RestartMax, 60*time.Second), o.RestartMin)
	o.Strategy = cmp.Or(o.Strategy, Handover)
	return o
}

// untimed is the limit of what may take as long as a person likes.
const untimed = 365 * 24 * time.Hour

// debugged are the options of a plugin that a person may stop in a debugger, or start
// under one. Nothing that takes long is a mistake, and neither is a process that the person
// ends. There is one process at a time, since one can have the debugger's port.
func (o PluginOptions) debugged() PluginOptions {
	o.HandlerTimeout, o.StartTimeout = untimed, untimed
	o.SuspectAfter, o.Probation, o.Strategy = 0, 0, Recreate
	return o
}

// fingerprint is the same for the same options, over restarts of the host too.
func fingerprint(o PluginOptions) string {
	text, err := json.Marshal(o)
	if err != nil {
		panic("plugin options that are no JSON: " + err.Error()) // config has made the JSON in it
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// variables are Env, and how a starter knows that it shall open a debugger's port.
func (o PluginOptions) variables() []string {
	var env []string
	for name, value := range o.Env {
		env = append(env, name+"="+value)
	}
	if o.Debug {
		env = append(env, "BALHOST_DEBUG=1")
	}
	return env
}
