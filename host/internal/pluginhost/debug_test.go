package pluginhost

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// A process that stands still, at its start or later, is left alone with debug: no
// start_timeout, no ping. Another one that does not answer is killed meanwhile, again and
// again.
func TestDebugWaits(t *testing.T) {
	b := newBench(t)
	b.host.limits.ping, b.host.limits.Grace = 50*time.Millisecond, 100*time.Millisecond
	b.host.o.Plugin = func(name string) PluginOptions {
		return PluginOptions{
			RestartMin: time.Millisecond, RestartMax: time.Millisecond, DrainTimeout: 50 * time.Millisecond,
			StartTimeout: map[bool]time.Duration{true: time.Millisecond, false: patience}[name == "echo"],
			Debug:        name == "echo", Probation: time.Hour, SuspectAfter: 3,
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b.script("echo", fmt.Sprintf("sleep 1; exec %s echo", self)) // as under a debugger that waits for a person
	b.put("deaf", "")                                            // gives no pong
	b.run()
	b.event("ready echo", 1)
	before := b.state("echo", Running)
	if !before.Debug || !before.Probation.IsZero() {
		t.Errorf("status %+v", before)
	}
	if env := b.ask("echo", "environ"); !strings.Contains(env, "BALHOST_DEBUG=1") {
		t.Errorf("its environment:\n%s", env)
	}
	b.mu.Lock()
	facts := b.latest["echo"].Facts
	b.mu.Unlock()
	if !facts.Debug || !facts.Alone || facts.SuspectAfter != 0 {
		t.Errorf("the dispatcher is told %+v", facts)
	}
	b.tell("echo", "stop")
	b.mu.Lock()
	from := b.count("gone deaf")
	b.mu.Unlock()
	b.event("gone deaf", from+3)
	if after := b.status("echo"); after.PID != before.PID || after.State != Running || after.Restarts != 0 {
		t.Errorf("status %+v, before %+v", after, before)
	}
	if log := b.log.String(); strings.Count(log, "plugin runs with debug = true") != 1 {
		t.Error("the log does not say once that it is debugged")
	}
}

// A plugin starts anew when debug is switched on or off. An upgrade of the host to one
// that knows debug starts none anew.
func TestDebugInFingerprint(t *testing.T) {
	o, debugged := PluginOptions{}.filled(), PluginOptions{Debug: true}.filled()
	debugged.Strategy, debugged.HandlerTimeout = o.Strategy, o.HandlerTimeout
	if fingerprint(o) == fingerprint(debugged) {
		t.Error("with debug the fingerprint is the same")
	}
	if text, err := json.Marshal(o); err != nil || strings.Contains(string(text), "Debug") {
		t.Errorf("it tells of debug when there is none: %s, %v", text, err)
	}
}
