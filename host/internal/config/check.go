package config

import (
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
	cfg := Config{
		DataDir:     c.path(f.DataDir, "data"),
		ConnectRate: int(c.number(f.ConnectRate, 400, 1, 100_000)),
		PluginsDir:  c.path(orEmpty(f.Plugins).Dir, "plugins"),

		PluginBytes:   c.size(orEmpty(f.Plugins).MaxSize, 512*mib, mib, 1<<20*gib),
		PluginEntries: int(c.number(orEmpty(f.Plugins).MaxEntries, 20_000, 1, 10_000_000)),

		Sessions: c.sessions(f.Sessions),
		Plugins:  c.plugins(f.Plugin),
		Ledger:   c.ledger(orEmpty(f.Ledger)),
		Admin:    c.admin(orEmpty(f.Admin)),
		Log:      c.log(orEmpty(f.Log)),
		Tracing:  c.tracing(f.Tracing),
	}
	c.listeners(f, cfg)
	return cfg
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
		StartTimeout:   c.duration(b.StartTimeout, d.StartTimeout, time.Second, time.Hour),
		RestartBackoff: c.backoff(b.RestartBackoff, d.RestartBackoff),
		SuspectAfter:   int(c.number(b.SuspectAfter, int64(d.SuspectAfter), 1, 1_000_000)),
		MaxInFlight:    int(c.number(b.MaxInFlight, int64(d.MaxInFlight), 1, 65_536)),
		Strategy:       c.oneOf(b.Strategy, d.Strategy, "handover", "recreate"),
		Probation:      c.duration(b.Probation, d.Probation, 0, day),
		OnRemove:       c.oneOf(b.OnRemove, d.OnRemove, "stop", "keep"),
		SHA256:         strings.ToLower(c.text(b.SHA256, "")),
		MemoryMax:      c.size(b.MemoryMax, 0, 0, 1<<20*gib),
		Debug:          c.boolean(b.Debug, false),
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
		StartTimeout:   30 * time.Second,
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
		KeyFile:     c.path(b.KeyFile, ""),
	}
	if l.DiskHard > l.DiskSoft {
		c.problem(b.Range, "disk_hard (%s) is more than disk_soft (%s): intake must stop before the process ends", size(l.DiskHard), size(l.DiskSoft))
	}
	return l
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
