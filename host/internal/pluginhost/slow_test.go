package pluginhost

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// needs is a script that runs this test's binary as a plugin, once a file outside of the
// plugin is there.
func (b *bench) needs(name, file string) {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	b.script(name, fmt.Sprintf("[ -e %s ] || { echo 'Traceback (most recent call last):' >&2; echo \"ModuleNotFoundError: No module named 'm'\" >&2; exit 1; }\nexec %s %s", file, self, name))
}

// What a plugin lacks may come later. A reload by name then takes it, beside the old one,
// and says what it tries; so does a touch.
func TestMissingModuleComesLater(t *testing.T) {
	for _, how := range []string{"reload", "touch", "time"} {
		t.Run(how, func(t *testing.T) {
			b := newBench(t)
			if b.host.limits.Again = time.Hour; how == "time" {
				b.host.limits.Again = 2 * time.Second
			}
			module := filepath.Join(t.TempDir(), "m")
			old := b.proven()
			b.needs("echo", module)
			b.poll("it to be set aside", func() bool { return b.status("echo").Refusal != nil })
			s := b.status("echo")
			if s.PID != old.PID || s.Refusal.Again.IsZero() || !strings.HasPrefix(s.Refusal.Reason, "exited before the handshake with status 1; its last words: ModuleNotFoundError: No module named 'm'") {
				t.Errorf("%+v, %+v", s, s.Refusal)
			}
			if log := b.log.String(); !strings.Contains(log, "touch its file, or balhost reload echo, to try it again") {
				t.Error("the log does not say how to go on")
			}
			if err := os.WriteFile(module, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			switch how {
			case "reload":
				if again, err := b.host.Reload(t.Context(), "echo", false); err != nil || len(again) != 1 {
					t.Errorf("tried again: %q, %v", again, err)
				}
			case "touch":
				if now := time.Now(); os.Chtimes(filepath.Join(b.dir, "echo"), now, now) != nil {
					t.Error("not touched")
				}
			}
			b.event("ready echo", 2)
			b.poll("the refusal to be over", func() bool { return b.status("echo").Refusal == nil })
			if s := b.state("echo", Running); s.PID == old.PID {
				t.Errorf("%+v", s)
			}
		})
	}
}

// start_timeout bounds a start. What was too slow is no worse for it: with more time it
// starts at once.
func TestStartTimeout(t *testing.T) {
	b := newBench(t)
	o := PluginOptions{StartTimeout: time.Second, RestartMin: time.Hour}
	b.host.o.Plugin = func(string) PluginOptions { return o }
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b.script("echo", "sleep 2; exec "+self+" echo")
	b.run()
	if s := b.state("echo", Backoff); s.Reason != "hangs: no handshake within 1s (start_timeout)" {
		t.Errorf("%+v", s)
	}
	for _, tt := range []struct {
		timeout time.Duration
		want    []Change
	}{
		{patience, []Change{{"echo", Retried}}},
		{patience, nil},
		{2 * patience, []Change{{"echo", NextTime}}},
	} {
		more := o
		more.StartTimeout = tt.timeout
		if changed := b.host.Configure(t.Context(), func(string) PluginOptions { return more }); !slices.Equal(changed, tt.want) {
			t.Errorf("with %s changed %v, want %v", tt.timeout, changed, tt.want)
		}
		b.event("ready echo", 1) // and no second one
	}
}
