package plugincheck

import (
	"encoding/json"
	"time"

	"balhost/host/internal/pluginhost"
	"balhost/sdk/message"
	"balhost/sdk/wire"
)

// Options are what a check needs. Zero fields get defaults.
type Options struct {
	Path    string                   // of the file or folder
	Bounds  pluginhost.Bounds        // of it; zero: as config.hcl has it without the keys
	Plugin  pluginhost.PluginOptions // from config.hcl, with Config
	Version string                   // of the host

	Sessions []Session // that the plugin is told; none: one called main, of FCM's HTTP v1
	// Data are samples of what a device sends in data: they come in turn. None: a text.
	Data     []json.RawMessage
	Category string // of upstreams; "": the first that the plugin declares
	Messages int    // of the load; default 10,000

	Patience time.Duration // for what comes at once when all is well; default 10 s
	Drain    time.Duration // what a drain may take; default 3 s
	Extend   time.Duration // Limits.extend_ms; default as the host has it

	Only []string  // names of rows; none: all
	Tell func(Row) // each row when it is there; nil: nobody
}

// Session is one of the host's sessions, as plugins are told.
type Session struct {
	Name      string
	Transport message.Transport
}

// Most of these are the host's own defaults.
const (
	usualInFlight = 256
	usualMessages = 10_000
	usualPatience = 10 * time.Second
	usualDrain    = 3 * time.Second
	pingWithin    = 10 * time.Second
	exitWithin    = 5 * time.Second // after the end of a session that no drain has announced
	shutWithin    = 2 * time.Second // after Shutdown
)

func (o Options) filled() Options {
	if o.Sessions == nil {
		o.Sessions = []Session{{"main", message.FCMv1}}
	}
	if o.Data == nil {
		o.Data = []json.RawMessage{json.RawMessage(`{"text":"balhost plugin check"}`)}
	}
	set(&o.Bounds, pluginhost.Bounds{Bytes: 512 << 20, Entries: 20_000})
	set(&o.Plugin.MaxInFlight, usualInFlight)
	set(&o.Plugin.StartTimeout, 30*time.Second)
	set(&o.Plugin.HandlerTimeout, time.Minute)
	set(&o.Messages, usualMessages)
	set(&o.Patience, usualPatience)
	set(&o.Drain, usualDrain)
	set(&o.Extend, wire.ExtendWithin)
	return o
}

// set gives a field that is zero its default.
func set[T comparable](field *T, usual T) {
	if *field == *new(T) {
		*field = usual
	}
}
