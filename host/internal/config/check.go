package config

import (
	"errors"
	"io/fs"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"balhost/host/internal/route"
	"balhost/sdk/message"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30

	day = 24 * time.Hour
)

// config builds the checked form: each line names a key, its default and its bounds.
func (c *checker) config(f file) Config {
	return Config{
		DataDir:     c.path(f.DataDir, "data"),
		ConnectRate: int(c.number(f.ConnectRate, 400, 1, 100_000)),
		PluginsDir:  c.path(orEmpty(f.Plugins).Dir, "plugins"),
		Sessions:    c.sessions(f.Sessions),
		Plugins:     c.plugins(f.Plugin),
		Ledger:      c.ledger(orEmpty(f.Ledger)),
		Admin:       c.admin(orEmpty(f.Admin)),
		Log:         c.log(orEmpty(f.Log)),
	}
}

func (c *checker) sessions(blocks []fileSession) []Session {
	var out []Session
	labels, senders := map[string]hcl.Range{}, map[string]hcl.Range{}
	for _, b := range blocks {
		s := c.session(b)
		if c.unique(labels, s.Name, b.Range, "session label %q is already used by the session at %s; logs and the API use it as the name, so choose another") && s.SenderID != "" {
			c.unique(senders, s.SenderID, b.Range, "sender_id %q is already used by the session at %s; keep one session for a sender, and raise its connections")
		}
		out = append(out, s)
	}
	if len(blocks) == 0 {
		c.problem(hcl.Range{Filename: c.name, Start: hcl.InitialPos, End: hcl.InitialPos}, `there is no session block; the host needs at least one CCS sender: session "main" { … }`)
	}
	return out
}

// label matches a session's name. The name becomes the label of a metric and an
// argument on the command line.
var label = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// senderID allows only what the local part of a JID can hold. Spec: RFC 6122 §2.3.
var senderID = regexp.MustCompile(`^[^\s"&'/:<>@\x00-\x1f\x7f]{1,256}$`)

func (c *checker) session(b fileSession) Session {
	if !label.MatchString(b.Name) {
		c.problem(b.Range, "session label %q: give letters, digits, '_', '.' and '-' only, 64 at most", b.Name)
	}
	c.required(b.Range, b.Address, "session", b.Name, "address")
	c.required(b.Range, b.SenderID, "session", b.Name, "sender_id")
	c.required(b.Range, b.ServerKey, "session", b.Name, "server_key")
	s := Session{
		Name:           b.Name,
		Address:        c.text(b.Address, ""),
		SenderID:       c.text(b.SenderID, ""),
		ServerKey:      c.secret(b.ServerKey),
		Connections:    int(c.number(b.Connections, 1, 1, 1000)), // Spec: ccs-protocol.md §1.4, CCS allows a sender no more
		MaxConnections: int(c.number(b.MaxConnections, 1000, 1, 1000)),
		Window:         int(c.number(b.Window, 100, 1, 100)), // Spec: ccs-protocol.md §8, CCS allows no more
		PingInterval:   c.duration(b.PingInterval, 20*time.Second, time.Millisecond, day),
		PingTimeout:    c.duration(b.PingTimeout, 10*time.Second, time.Millisecond, day),
		AnswerTimeout:  c.duration(b.AnswerTimeout, time.Minute, time.Millisecond, day),
		MaxStanza:      c.size(b.MaxStanza, mib, 16*kib, mib), // the ledger can't store much larger messages
		ConnectBackoff: c.backoff(b.ConnectBackoff, Backoff{Min: time.Second, Max: 5 * time.Minute}),
		AckWarn:        c.duration(b.AckWarn, 100*time.Millisecond, time.Microsecond, day),
	}
	if b.TLS != nil {
		s.TLS = TLS{CAFile: c.path(b.TLS.CAFile, ""), ServerName: c.serverName(b.TLS.ServerName)}
		if _, err := s.TLS.Roots(); err != nil && !errors.Is(err, fs.ErrNotExist) { // the simulator may write a missing file later
			c.bad(b.TLS.CAFile, "%v", err)
		}
	}
	if address, ok := c.given(b.Address); ok {
		if host, ok := c.hostPort(b.Address, address, 1); ok && host == "" {
			c.bad(b.Address, "%q names no host: write host:port", address)
		}
	}
	if id, ok := c.given(b.SenderID); ok && (!senderID.MatchString(id) || unprintable(id) != "") {
		c.bad(b.SenderID, "%q can't be a sender id: it is the project number, digits like 482915730064", s.SenderID)
	}
	if b.MaxConnections != nil && s.Connections > s.MaxConnections {
		c.bad(b.MaxConnections, "%d is less than connections (%d): it also counts connections that CCS drains", s.MaxConnections, s.Connections)
	}
	return s
}

func (c *checker) plugins(blocks []filePlugin) map[string]Plugin {
	out, seen := map[string]Plugin{}, map[string]hcl.Range{}
	for _, b := range blocks {
		if err := message.CheckPluginName(b.Name); err != nil {
			c.problem(b.Range, "plugin label %q: give the name of a file in the plugins folder; %v", b.Name, err)
		}
		c.unique(seen, b.Name, b.Range, "plugin %q already has a block at %s")
		out[b.Name] = c.plugin(b)
	}
	return out
}

func (c *checker) plugin(b filePlugin) Plugin {
	d := defaultPlugin(b.Name)
	p := Plugin{
		Name:           b.Name,
		Categories:     c.texts(b.Categories),
		Order:          c.text(b.Order, ""),
		MaxAttempts:    int(c.number(b.MaxAttempts, int64(d.MaxAttempts), 0, 1_000_000)),
		HandlerTimeout: c.duration(b.HandlerTimeout, d.HandlerTimeout, time.Millisecond, day),
		DrainTimeout:   c.duration(b.DrainTimeout, d.DrainTimeout, 0, day),
		RestartBackoff: c.backoff(b.RestartBackoff, d.RestartBackoff),
		SuspectAfter:   int(c.number(b.SuspectAfter, int64(d.SuspectAfter), 1, 1_000_000)),
		MaxInFlight:    int(c.number(b.MaxInFlight, int64(d.MaxInFlight), 1, 65_536)),
		Strategy:       c.oneOf(b.Strategy, d.Strategy, "handover", "recreate"),
		Probation:      c.duration(b.Probation, d.Probation, 0, day),
		OnRemove:       c.oneOf(b.OnRemove, d.OnRemove, "stop", "keep"),
		SHA256:         strings.ToLower(c.text(b.SHA256, "")),
		MemoryMax:      c.size(b.MemoryMax, 0, 0, 1<<20*gib),
		Config:         c.object(b.Config),
		Env:            c.environment(b.Env),
	}
	if p.SHA256 != "" && !sha256Sum.MatchString(p.SHA256) {
		c.bad(b.SHA256, "%q is not a sha256: give 64 hex digits, as sha256sum prints them", p.SHA256)
	}
	if p.MemoryMax != 0 && p.MemoryMax < 16*mib {
		c.bad(b.MemoryMax, "%s is less than an empty plugin needs: give 16MiB or more, or 0B for no limit", size(p.MemoryMax))
	}
	for _, category := range p.Categories {
		if category == "" {
			c.bad(b.Categories, `a category is empty; give app package names, or "*" for what no other plugin claims`)
		}
	}
	if p.Order != "" {
		if _, err := route.ParseOrder(p.Order); err != nil {
			c.bad(b.Order, "%v", err)
		}
	}
	c.later(b.Adopts)
	return p
}

var sha256Sum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// defaultPlugin is the configuration of a plugin without a block.
func defaultPlugin(name string) Plugin {
	return Plugin{
		Name:           name,
		MaxAttempts:    15,
		HandlerTimeout: 30 * time.Second,
		DrainTimeout:   30 * time.Second,
		RestartBackoff: Backoff{Min: time.Second, Max: time.Minute},
		SuspectAfter:   3,
		MaxInFlight:    256,
		Strategy:       "handover",
		Probation:      30 * time.Second,
		OnRemove:       "stop",
	}
}

func (c *checker) ledger(b fileLedger) Ledger {
	l := Ledger{
		DedupWindow: c.duration(b.DedupWindow, 2*day, time.Second, 366*day),
		Retention:   c.duration(b.Retention, day, time.Second, 366*day),
		DiskSoft:    c.size(b.DiskSoft, gib, mib, 1<<20*gib),
		DiskHard:    c.size(b.DiskHard, 256*mib, mib, 1<<20*gib),
		Ballast:     c.size(b.Ballast, 256*mib, 0, 64*gib),
		Inodes:      uint64(c.number(b.Inodes, 10_000, 1, 1<<40)),
	}
	if l.DiskHard > l.DiskSoft {
		c.problem(b.Range, "disk_hard (%s) is more than disk_soft (%s): intake must stop before the process ends", size(l.DiskHard), size(l.DiskSoft))
	}
	return l
}

func (c *checker) admin(b fileAdmin) Admin {
	a := Admin{Listen: c.text(b.Listen, DefaultAdmin().Listen), Token: c.secretOrNone(b.Token)}
	if path, ok := strings.CutPrefix(a.Listen, "unix:"); ok {
		a.Listen = "unix:" + c.socket(b.Listen, path)
		return a
	}
	if host, ok := c.hostPort(b.Listen, a.Listen, 0); ok && !Loopback(host) && a.Token == "" {
		c.bad(b.Listen, "%s can be reached from other machines, so the admin block needs a token: token = env(\"BALHOST_ADMIN_TOKEN\")", a.Listen)
	}
	return a
}

// Loopback reports whether only this machine can reach host.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func (c *checker) log(b fileLog) Log {
	return Log{
		Level:  c.oneOf(b.Level, "info", "trace", "debug", "info", "warn", "error"),
		Format: c.oneOf(b.Format, "text", "text", "json"),
	}
}

func (c *checker) backoff(b *fileBackoff, def Backoff) Backoff {
	if b == nil {
		return def
	}
	out := Backoff{
		Min: c.duration(b.Min, def.Min, time.Millisecond, day),
		Max: c.duration(b.Max, def.Max, time.Millisecond, day),
	}
	if out.Min > out.Max {
		c.problem(b.Range, "min (%s) is more than max (%s)", out.Min, out.Max)
	}
	return out
}

// orEmpty makes an absent block an empty one.
func orEmpty[T any](block *T) T {
	if block == nil {
		return *new(T)
	}
	return *block
}
