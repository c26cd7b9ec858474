// Package config turns config.hcl into a checked [Config]. It keeps P10 for
// the file that an operator writes: every problem is found before anything
// starts, and all are reported at once, each with its place and its line. It
// starts nothing, and is the only importer of hcl. Start at [Load].
package config

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Config is a config.hcl that has been checked. Paths are absolute, durations
// and sizes parsed, defaults filled in.
type Config struct {
	File     string // as given to Load
	DataDir  string // ledger, staged plugins, admin socket
	Sessions []Session
	// ConnectRate is how many connections to CCS are made in a minute at most,
	// all sessions together.
	ConnectRate int
	PluginsDir  string
	Plugins     map[string]Plugin // by file name; [Config.Plugin] knows those without a block too
	Ledger      Ledger
	Admin       Admin
	Log         Log
}

// Plugin is the configuration of the plugin file of that name: its block, or
// the defaults when it has none.
func (c Config) Plugin(name string) Plugin {
	if p, ok := c.Plugins[name]; ok {
		return p
	}
	return defaultPlugin(name)
}

// Session is one CCS sender.
type Session struct {
	Name           string // the block's label
	Address        string // host:port
	SenderID       string
	ServerKey      Secret
	Connections    int
	MaxConnections int // at a time, those that CCS drains included
	TLS            TLS
	Window         int           // most downstreams unanswered on a connection (P3)
	PingInterval   time.Duration // of silence before a ping
	PingTimeout    time.Duration // for its answer, then the connection is replaced
	AnswerTimeout  time.Duration // for the ack or nack of a downstream
	MaxStanza      int64         // bytes; longer ones are skipped and counted
	ConnectBackoff Backoff
	AckWarn        time.Duration // an ack to CCS that took longer is logged
}

// TLS is how CCS's certificate is verified. It always is.
type TLS struct {
	CAFile     string // PEM; "" for the system's roots
	ServerName string // "" for the address's host
}

// maxRoots bounds a ca_file; what all systems trust together is a quarter of it.
const maxRoots = 1 << 20

// Roots reads the certificates that a server's is checked against; nil without a
// ca_file, for the system's.
func (t TLS) Roots() (*x509.CertPool, error) {
	if t.CAFile == "" {
		return nil, nil
	}
	pem, err := readBounded(t.CAFile, maxRoots)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; the simulator writes its own when it starts", err)
		}
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", t.CAFile)
	}
	return roots, nil
}

// Backoff bounds the waits between tries; they grow from Min to Max with jitter.
type Backoff struct {
	Min, Max time.Duration
}

// Plugin is what the operator says about one plugin file.
type Plugin struct {
	Name           string
	Categories     []string // nil: as the plugin declares
	Order          string   // "": as the plugin declares; else none, device or key:PATH
	MaxAttempts    int      // then dead letters (P8); 0: for ever
	HandlerTimeout time.Duration
	DrainTimeout   time.Duration
	RestartBackoff Backoff
	SuspectAfter   int             // crashes with an event in flight that make it a suspect
	MaxInFlight    int             // events given out and not settled
	Strategy       string          // handover: the new process starts beside the old one; recreate: after its end
	Probation      time.Duration   // new content is watched, and rolled back when it does badly; 0: not at all
	OnRemove       string          // stop or keep: what becomes of a plugin whose file is removed
	SHA256         string          // hex, lower case: no other content is taken; "": any is
	MemoryMax      int64           // bytes of its processes, then it is killed; 0: no limit
	Config         json.RawMessage // a JSON object, the plugin's own; nil without one
	Env            Environment     // beside what every plugin gets; nil without one
}

// Ledger is what the store keeps and the room that it needs.
type Ledger struct {
	DedupWindow time.Duration // an upstream sent again within it is stored once (P6)
	Retention   time.Duration // of the summaries of what is finished
	DiskSoft    int64         // bytes free besides as many as it has; below, no new upstreams are taken
	DiskHard    int64         // bytes free; below, the process ends by intention (P10)
	Ballast     int64         // bytes of a file that a start on a full disk gives up; 0 for none
	Inodes      uint64        // free; below, as DiskSoft, below a tenth as DiskHard
}

// Admin is where the HTTP API listens.
type Admin struct {
	Listen string // host:port, or "unix:" and an absolute path
	Token  Secret // asked of every request when not empty
}

// DefaultAdmin is the admin block of a file without one.
func DefaultAdmin() Admin { return Admin{Listen: "127.0.0.1:8765"} }

// Log is what is logged, and how.
type Log struct {
	Level  string // trace, debug, info, warn, error
	Format string // text, json
}

// Secret is text that never prints: fmt, encoding/json and hclog all show a
// placeholder.
type Secret string

const hidden = "(hidden)"

// Reveal is the text itself; for the one place that needs it.
func (s Secret) Reveal() string { return string(s) }

// String hides the text.
func (s Secret) String() string { return hidden }

// GoString hides the text from %#v.
func (s Secret) GoString() string { return hidden }

// MarshalText hides the text from encoding/json and from loggers.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
