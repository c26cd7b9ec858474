package pluginhost

import (
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
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
	// Version is the host's, told to plugins.
	Version string
	// Sessions are the names of the host's sessions now, told to plugins; nil:
	// none are. See [Host.SessionsChanged].
	Sessions func() []string
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
}
