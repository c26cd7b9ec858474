// Package config turns config.hcl into a checked [Config]. It keeps P10 for the
// operator's file: every problem is found before anything starts. All problems are
// reported together, each with its place and its line. Only this package imports
// hcl. It starts nothing. Start at [Load].
package config

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"balhost/host/internal/credential"
	"balhost/host/internal/regular"
	"balhost/host/internal/secret"
	"balhost/sdk/message"
)

// Config is a checked config.hcl. Its paths are absolute, its durations and sizes
// are parsed, and defaults are filled in.
type Config struct {
	File     string // as given to Load
	DataDir  string // ledger, staged plugins, admin socket
	Sessions []Session
	// ConnectRate is the most connections to CCS that all sessions together make in
	// one minute.
	ConnectRate int
	PluginsDir  string
	// PluginBytes and PluginEntries are what a plugin's file or folder may have.
	PluginBytes   int64
	PluginEntries int
	Plugins       map[string]Plugin // by file name; [Config.Plugin] also gives plugins without a block
	Ledger        Ledger
	Admin         Admin
	Log           Log
	Tracing       *Tracing // nil: no traces are made
}

// Plugin is the configuration of the plugin file of that name: its block, or
// the defaults when it has none.
func (c Config) Plugin(name string) Plugin {
	if p, ok := c.Plugins[name]; ok {
		return p
	}
	return defaultPlugin(name)
}

// Session is one sender: the Firebase project with the number SenderID. It has at most
// one of CCS and FCMv1, and at least one of the three.
type Session struct {
	Name     string // the block's label
	SenderID string
	CCS      *CCS
	FCMv1    *FCMv1
	Gateway  *Gateway
}

// Transport is what carries its downstreams. Beside CCS or FCM's HTTP v1, a gateway
// carries those to devices that are connected to it.
func (s Session) Transport() message.Transport {
	switch {
	case s.FCMv1 != nil:
		return message.FCMv1
	case s.CCS != nil:
		return message.CCS
	case s.Gateway != nil && len(s.Gateway.Auth) == 0: // Huawei's uplink alone: no device can connect
		return message.Huawei
	}
	return message.Gateway
}

// Roots reads the CA certificates that verify the session's server. Without a ca_file it
// is nil, which means the system's.
func (s Session) Roots() (*x509.CertPool, error) {
	switch {
	case s.FCMv1 != nil:
		return roots(s.FCMv1.CAFile)
	case s.CCS != nil:
		return s.CCS.TLS.Roots()
	}
	return nil, nil
}

// CCS says how a session connects to a server that speaks CCS.
type CCS struct {
	Address        string // host:port
	ServerKey      Secret
	Connections    int
	MaxConnections int           // at a time, including those that CCS drains
	Window         int           // most downstreams unanswered on a connection (P3)
	PingInterval   time.Duration // of silence before a ping
	PingTimeout    time.Duration // for the answer; after it the connection is replaced
	AnswerTimeout  time.Duration // for the ack or nack of a downstream
	MaxStanza      int64         // bytes; longer ones are skipped and counted
	AckWarn        time.Duration // a slower ack to CCS is logged
	ConnectBackoff Backoff
	TLS            TLS
}

// FCMv1 says how a session sends by FCM's HTTP v1. Nothing comes up through it.
type FCMv1 struct {
	Credentials     Secret // the text of a service account's key file, or [ADC]
	CredentialsFile string // absolute path, if the text comes from file(); "": it does not
	Endpoint        string // scheme and host, without a path
	CAFile          string // PEM; "" for the system's roots
	Connections     int    // HTTP/2 connections at most
	Rate            int    // messages a second at most
}

// Gateway says where devices connect to, and who they may be.
type Gateway struct {
	Listen         string            // host:port, or "unix:" and an absolute path
	CertFile       string            // absolute paths of PEM files, which are watched; "": no TLS, and only on loopback or a unix socket
	KeyFile        string            // the same
	Auth           []credential.Rule // any that fits decides who a device is; none: only Huawei's servers come in
	Huawei         *Huawei           // nil: its uplink is not served
	TrustedProxies []netip.Prefix    // whose word on a client's address counts
	ProxyProtocol  bool              // they speak the PROXY protocol; else they set X-Forwarded-For
	CORSOrigins    []string          // exact origins of web pages that may call
	MaxConnections int               // at a time
	Rate           int               // messages a second that a device may send, on average
}

// Huawei says how Huawei's servers sign what they deliver.
// Spec: fcm-v1-and-gateway.md E.
type Huawei struct {
	CallbackKey  Secret
	CallbackUser string // that of receipts
}

// ADC as credentials means the platform's own, as Google's libraries find them
// (Application Default Credentials).
const ADC = "adc"

// TLS is how CCS's certificate is verified. It always is.
type TLS struct {
	CAFile     string // PEM; "" for the system's roots
	ServerName string // "" for the address's host
}

// Roots reads the CA certificates that verify the server. Without a ca_file it is
// nil, which means the system's.
func (t TLS) Roots() (*x509.CertPool, error) { return roots(t.CAFile) }

// maxRoots bounds a ca_file. A system's whole list of CAs is a quarter of it.
const maxRoots = 1 << 20

func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := regular.Read(file, maxRoots)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; the simulator writes its own when it starts", err)
		}
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM", file)
	}
	return pool, nil
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
	MaxAttempts    int      // after these: dead letter (P8); 0: no limit
	HandlerTimeout time.Duration
	DrainTimeout   time.Duration
	StartTimeout   time.Duration // of each step of a new process's start
	RestartBackoff Backoff
	SuspectAfter   int             // an event in flight at so many crashes is a suspect
	MaxInFlight    int             // unfinished events that the plugin has at a time
	Strategy       string          // handover: the new process starts beside the old one; recreate: after its end
	Probation      time.Duration   // how long new content must run well before it is proven; 0: no probation
	OnRemove       string          // when the file is removed: stop or keep the plugin
	SHA256         string          // hex, lower case: only this content may run; "": any content
	MemoryMax      int64           // bytes; a plugin that uses more is killed; 0: no limit
	Debug          bool            // it may be stopped in a debugger: no time is too long, one process at a time
	Config         json.RawMessage // a JSON object, the plugin's own; nil without one
	Env            Environment     // added to what every plugin gets; nil without one
}

// Ledger is what the store keeps, and how much disk it needs.
type Ledger struct {
	DedupWindow time.Duration // an upstream that comes again within this time is stored once (P6)
	Retention   time.Duration // of the summaries of what is finished
	DiskSoft    int64         // intake stops when free bytes are below this plus the ledger's size
	DiskHard    int64         // below this many free bytes the process ends on purpose (P10)
	Ballast     int64         // bytes of a spare file, which a start on a full disk deletes; 0: none
	Inodes      uint64        // free inodes: works like DiskSoft, and a tenth of it like DiskHard
	KeyFile     string        // has the key that encrypts the ledger's files; "": they are not encrypted
}

// Admin is where the HTTP API listens, and who may use it.
type Admin struct {
	Listen string  // host:port, or "unix:" and an absolute path
	Token  Secret  // has the role admin; "": there is none
	Tokens []Token // of roles; with one of them or Token, every request must carry one

	// Absolute paths of PEM files, which are watched. CertFile "": no TLS.
	CertFile, KeyFile string
	ClientCAFile      string // the CAs of clients' certificates; "": clients need none
}

// Token lets whoever has it use the HTTP API.
type Token struct {
	Name   string // for the audit log
	Role   string // read, operate, admin
	Secret Secret
}

// DefaultAdmin is the admin block of a file without one.
func DefaultAdmin() Admin { return Admin{Listen: "127.0.0.1:8765"} }

// Log says what is logged, and in which format.
type Log struct {
	Level  string // trace, debug, info, warn, error
	Format string // text, json
}

// Secret is a value that is never printed.
type Secret = secret.Text
