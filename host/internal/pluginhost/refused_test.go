package pluginhost

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"balhost/host/internal/instance"
)

// Issue 2, "What bad input gets": each is named with its reason, the others run
// on, and the boot is over when all have failed. // P10
func TestRefusals(t *testing.T) {
	b := newBench(t)
	b.host.o.Plugin = func(name string) PluginOptions {
		o := PluginOptions{RestartMin: time.Hour}
		if name == "picky" {
			o.Config = json.RawMessage(`{"do":"refuse"}`)
		}
		return o
	}
	refused := map[string]string{
		"true":     "not a plugin: exited before the handshake with status 0 (a script must start its program with exec)",
		"text":     "not a plugin: it is neither a program nor a script that begins with #!",
		"empty":    "not a plugin: it is empty: copy it again",
		"liar":     `plugin calls itself "somebody", but its file's name, "liar", is its identity: rename one of them`,
		"stranger": "not a plugin of this host: it doesn't know Describe; build it with this host's sdk",
		"deedless": "plugin deedless claims categories but has no Upstream handler: add one, or claim none",
		"greedy":   "plugin greedy claims 1001 categories: at most 1000",
	}
	retried := map[string]string{ // what they need may come later
		"exits":          "exited before the handshake with status 3; its last words: no licence found",
		"picky":          "refused to start: greeting must not be empty at all",
		"segfaults":      "killed by signal: killed",
		"dies-described": "killed by signal: killed",
		"sick":           "is not well: its health is NOT_SERVING",
	}
	for _, name := range []string{"exits", "deedless", "greedy", "liar", "picky", "stranger", "segfaults", "dies-described", "sick", "good"} {
		b.put(name, "")
	}
	b.script("true", "exit 0")
	b.write("text", []byte("no program at all"))
	b.write("empty", nil)
	b.run()
	b.event("ready good", 1)
	for name, reason := range refused {
		if s := b.state(name, Refused); !strings.HasPrefix(s.Reason, reason) {
			t.Errorf("%s: %q, want %q", name, s.Reason, reason)
		}
	}
	for name, reason := range retried {
		if s := b.state(name, Backoff); !strings.HasPrefix(s.Reason, reason) {
			t.Errorf("%s: %q, want %q", name, s.Reason, reason)
		}
	}
	b.event("settled", 1)
	b.stop()
	if n := len(b.only("settled")); n != 1 {
		t.Errorf("settled %d times", n)
	}
}

// What hangs is ended and tried again; the others don't notice.
func TestHangs(t *testing.T) {
	b := newBench(t)
	b.host.limits.Answer, b.host.limits.configure = 5*time.Second, 5*time.Second
	b.host.o.Plugin = func(string) PluginOptions { return PluginOptions{RestartMin: time.Hour} }
	b.put("hangs-configure", "")
	b.put("unwell", "")
	b.run()
	for name, reason := range map[string]string{
		"hangs-configure": "hangs: no answer to Configure within 5s (start_timeout); it logged last: waiting for the database",
		"unwell":          "hangs: no answer to health check within 5s (start_timeout)",
	} {
		if s := b.state(name, Backoff); s.Reason != reason {
			t.Errorf("%s: %q, want %q", name, s.Reason, reason)
		}
	}
	b.event("settled", 1)
	b.event("gone hangs-configure", 1)
}

// A refused content isn't tried again; another one is, and the same again isn't.
func TestRefusedContentIsNotTriedAgain(t *testing.T) {
	b := newBench(t)
	tries := filepath.Join(t.TempDir(), "tries")
	bad := "echo try >>" + tries + "; exit 0"
	b.script("echo", bad)
	b.run()
	b.state("echo", Refused)
	b.script("echo", bad)
	b.poll("the same content to be refused again", func() bool {
		return strings.Count(b.log.String(), "refused until its file changes: plugin=echo") == 2
	})
	if s := b.state("echo", Refused); !strings.HasPrefix(s.Reason, "not a plugin: exited") || s.Restarts != 0 {
		t.Errorf("status %+v", s)
	}
	if n, err := os.ReadFile(tries); err != nil || string(n) != "try\n" {
		t.Errorf("it was tried: %q, %v", n, err)
	}
	b.put("echo", "")
	b.event("ready echo", 1)
}

// What worked once is not refused for what it meets later, over restarts of the
// host too: its Start may miss a service that comes up after it.
func TestProvenContentIsTriedAgain(t *testing.T) {
	b := newBench(t)
	b.put("echo", "")
	b.run()
	b.event("ready echo", 1)
	b.stop()

	again := newBench(t)
	again.dir, again.data = b.dir, b.data
	again.host.o.Dir, again.host.o.DataDir = b.dir, b.data
	again.host.o.Plugin = func(string) PluginOptions {
		return PluginOptions{Config: json.RawMessage(`"refuse"`), RestartMin: time.Millisecond, RestartMax: 10 * time.Millisecond}
	}
	again.run()
	again.event("gone echo", 3)
	again.poll("a restart", func() bool { return again.status("echo").Restarts >= 2 })
	if s := again.status("echo"); s.State == Refused || !strings.HasPrefix(s.Reason, "refused to start: ") {
		t.Errorf("status %+v", s)
	}
}

// Plugins that hang at their start don't hold up the boot: it is over at its deadline,
// once, and says so. // P10
func TestBootHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, over := &buffer{}, make(booted, 2)
		h := New(Options{Dispatcher: over, Log: hclog.New(&hclog.LoggerOptions{Output: log})})
		var boot sync.WaitGroup
		boot.Add(1)
		h.booting["mute"] = true
		go h.endBoot(t.Context(), &boot)
		time.Sleep(BootTime - time.Nanosecond)
		synctest.Wait()
		if got := h.Awaited(); len(over) != 0 || !slices.Equal(got, []string{"mute"}) {
			t.Errorf("before the deadline it was over %d times, and waits for %q", len(over), got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := h.Awaited(); len(over) != 1 || got != nil {
			t.Errorf("at the deadline it was over %d times, and waits for %q", len(over), got)
		}
		if !strings.Contains(log.String(), "some plugins have not said yet what they are") {
			t.Error("nothing is said of it in the log")
		}
		boot.Done()
		synctest.Wait()
		if len(over) != 1 {
			t.Errorf("it was over %d times", len(over))
		}
	})
}

// booted counts the boot's ends.
type booted chan struct{}

func (b booted) Booted() { b <- struct{}{} }

func (booted) Removed(string) {}

func (booted) Described(instance.Facts, instance.Process) instance.Dispatch { return nil }

// The boot waits for those that hang, no longer for those that have said what they are.
func TestBootAwaitsThoseThatHang(t *testing.T) {
	b := newBench(t)
	b.host.limits.boot, b.host.limits.Handshake = time.Hour, time.Hour
	b.host.limits.crowd = time.Millisecond // so that the good one is started soon
	for n := range maxStarting + 1 {
		b.script(fmt.Sprint("mute", n), "exec sleep 3600")
	}
	b.put("echo", "")
	if got := b.host.Awaited(); got != nil {
		t.Errorf("before the boot it waits for %q", got)
	}
	b.run()
	b.poll("the good one to be awaited no longer", func() bool {
		waits := b.host.Awaited()
		return len(waits) == maxStarting+1 && waits[0] == "mute0"
	})
	b.stop()
	if n := len(b.only("settled")); n != 0 {
		t.Errorf("the host's end ended the boot, %d times", n)
	}
}

// Those that hang at their start hold nobody up: after a while they make room
// for others, and what worked before needs no room of theirs. // P10
func TestHangingStartsMakeRoom(t *testing.T) {
	hanging := func(b *bench) {
		b.hasty = true
		b.host.limits.Handshake = time.Hour
		for n := range maxStarting {
			b.script(fmt.Sprint("mute", n), "exec sleep 3600")
		}
		b.run()
		for n := range maxStarting {
			b.state(fmt.Sprint("mute", n), Starting)
		}
	}
	b := newBench(t)
	b.host.limits.crowd = 50 * time.Millisecond
	hanging(b)
	b.put("echo", "")
	b.event("ready echo", 1)
	b.stop()

	again := newBench(t) // with an echo that is proven, and comes when all places are taken for good
	again.data, again.host.o.DataDir = b.data, b.data
	again.host.limits.crowd = time.Hour
	again.host.o.Plugin = func(string) PluginOptions { return PluginOptions{KeepRemoved: true} } // between the two, too
	hanging(again)
	again.poll("all places to be taken", func() bool { return len(again.host.others) == maxStarting })
	again.put("echo", "")
	again.event("ready echo", 1)
}

// The boot is over when each has been described, not when each is configured.
func TestBootedDoesNotWaitForConfigure(t *testing.T) {
	b := newBench(t)
	b.put("hangs-configure", "")
	b.run()
	b.event("settled", 1)
	if s := b.status("hangs-configure"); s.State != Starting || s.PID == 0 || s.Version == "" {
		t.Errorf("status %+v", s)
	}
}
