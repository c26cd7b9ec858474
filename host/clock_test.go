package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/clocktest"
)

// The clock tests set the wall clocks of a host, its plugin and the simulator,
// which are real processes, each by itself. make test sets them a few times,
// make clock by every step.

// settings are what clocks are set by.
func settings() []time.Duration {
	if os.Getenv("BALHOST_CLOCK") != "long" {
		return []time.Duration{-2 * time.Hour, 24 * time.Hour}
	}
	return []time.Duration{
		-30 * time.Second, 30 * time.Second, -2 * time.Hour, 2 * time.Hour, -24 * time.Hour, 24 * time.Hour,
		-20 * 24 * time.Hour, 300 * 24 * time.Hour,
	}
}

var clockDir string // "" until a test has built the programs

// clocks are those of host, plugin and sim. Only one test at a time sets them.
func clocks(t *testing.T) map[string]clocktest.Clock {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real processes")
	}
	if err := buildClocks(); err != nil {
		t.Fatal(err)
	}
	all := map[string]clocktest.Clock{}
	for _, who := range []string{"host", "plugin", "sim"} {
		all[who] = clockOf(who)
		set(t, all[who], 0)
	}
	return all
}

func clockOf(who string) clocktest.Clock {
	return clocktest.Clock(filepath.Join(clockDir, who+".clock"))
}

var buildClocks = sync.OnceValue(func() (err error) {
	if clockDir, err = os.MkdirTemp("", "balhost-clocks"); err != nil {
		return err
	}
	for who, from := range map[string]string{"host": ".", "sim": ".", "plugin": "./testdata/scribe"} {
		out := filepath.Join(clockDir, who)
		if err := errors.Join(os.Mkdir(out, 0o700), clocktest.Build(".", out, clockOf(who), "", from)); err != nil {
			return err
		}
	}
	return nil
})

func set(t *testing.T, c clocktest.Clock, by time.Duration) {
	t.Helper()
	if err := c.Set(by); err != nil {
		t.Fatal(err)
	}
}

// clocked is a stage whose processes have clocks that can be set, with a scribe
// in the plugins folder. Pings are frequent there.
func clocked(t *testing.T) *stage {
	s := &stage{
		dir: t.TempDir(), plugins: filepath.Join(clockDir, "plugin"), running: map[string]*process{},
		program: map[string]string{"host": filepath.Join(clockDir, "host", "host"), "sim": filepath.Join(clockDir, "sim", "host")},
	}
	s.env = []string{"WORK=" + s.dir}
	t.Cleanup(s.clear)
	config := strings.Replace(usualConfig, `  ccs {`, `  ccs {
  ping_interval = "2s"
  ping_timeout  = "20s"`, 1) + fmt.Sprintf(`
plugin "scribe" {
  config = { book = %q, calm = %q }
}
`, filepath.Join(s.dir, "book"), filepath.Join(s.dir, "calm"))
	write(t, filepath.Join(s.dir, "config.hcl"), config, 0o600)
	if err := s.furnish(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.dropCmd([]string{"scribe"}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stage) finishSim([]string) (string, error) { return "", s.running["sim"].stop() }

// do is a command of the scripts.
func (s *stage) do(t *testing.T, command func([]string) (string, error), args ...string) {
	t.Helper()
	if out, err := command(args); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// awaits waits until the output of a command matches.
func (s *stage) awaits(t *testing.T, pattern string, args ...string) string {
	t.Helper()
	want, out := regexp.MustCompile("(?m)"+pattern), ""
	if !eventually(func() bool { out = s.try(args); return want.MatchString(out) }) {
		t.Fatalf("%v: want %q, but\n%s\nthe host's log:\n%s", args, pattern, out, s.running["host"].tail())
	}
	return out
}

// says waits for a line of the host's log.
func (s *stage) says(t *testing.T, pattern string) {
	t.Helper()
	if _, err := s.running["host"].says(pattern); err != nil {
		t.Fatal(err)
	}
}

// flows waits until so many more downstreams were acked.
func (s *stage) flows(t *testing.T, more uint64) {
	t.Helper()
	var c ccssim.Counts
	acked := func() uint64 {
		if err := s.simulator("/counts", &c); err != nil {
			t.Fatal(err)
		}
		return c.AckedDown
	}
	if from := acked(); !eventually(func() bool { return acked() >= from+more }) {
		t.Fatalf("messages don't flow: %+v\n%s", c, s.running["host"].tail())
	}
}

// Whichever clock is set, ahead or back, at rest or under load, nothing stops:
// no connection and no plugin is given up, nothing expires, comes late, twice or
// out of order. // P3 P4 P5 P6 P9
func TestClockStepsDisturbNothing(t *testing.T) {
	all := clocks(t)
	s := clocked(t)
	s.do(t, s.startCmd, "sim")
	s.do(t, s.startCmd, "host")
	s.awaits(t, `scribe +running`, "balhost", "status")
	whom := []string{"host", "plugin", "sim"}
	var pings ccssim.Counts
	heard := func(more uint64) { // the connection was looked after so often
		t.Helper()
		if err := s.simulator("/counts", &pings); err != nil {
			t.Fatal(err)
		}
		from := pings.Pings
		if !eventually(func() bool { return s.simulator("/counts", &pings) != nil || pings.Pings >= from+more }) {
			t.Fatalf("no ping comes\n%s", s.running["host"].tail())
		}
	}
	for _, step := range settings() { // at rest
		for _, who := range whom {
			set(t, all[who], step)
		}
		heard(3)
		for _, who := range whom {
			set(t, all[who], 0)
		}
		heard(2)
	}
	s.do(t, s.askCmd, "sim", "/devices", `{"count":20,"rate":400,"category":"com.example.echo"}`)
	s.flows(t, 100)
	for _, step := range settings() {
		for _, who := range whom {
			set(t, all[who], step)
			s.flows(t, 200)
			set(t, all[who], 0)
			s.flows(t, 100)
		}
		for range 5 { // in the middle of whatever goes on
			for _, who := range whom {
				set(t, all[who], step)
			}
			s.flows(t, 20)
			for _, who := range whom {
				set(t, all[who], 0)
			}
			s.flows(t, 20)
		}
	}
	s.do(t, s.askCmd, "sim", "/devices", `{"count":20,"rate":1,"limit":1,"category":"com.example.echo"}`) // in place of the load
	var r ccssim.Report
	if !eventually(func() bool {
		status, err := adminOf(s.admin)
		return err == nil && s.simulator("/report", &r) == nil && r.Waiting+r.InFlight+status.Ledger.Events+status.Ledger.Downstreams == 0 && r.Acked == r.Created
	}) {
		t.Fatalf("not all is handled: %+v\n%s", r.Counts, s.running["host"].tail())
	}
	status, err := adminOf(s.admin)
	if err != nil {
		t.Fatal(err)
	}
	l, p := status.Ledger, status.Plugins[0]
	if r.Logins != 1 || r.Redelivered+r.DuplicateDown+r.WrongAcks+r.BadAcks > 0 {
		t.Errorf("the simulator counts %+v", r.Counts)
	}
	if l.Accepted != r.Created || l.Handled != r.Created || l.Acked != r.Created || l.Expired+l.Failed+l.Died+l.Duplicates > 0 || !status.Ready {
		t.Errorf("the host counts %+v, of %d; %q", l.Counts, r.Created, status.Reasons)
	}
	if p.Restarts > 0 || p.Retried > 0 || status.UptimeSeconds > 3600 {
		t.Errorf("plugin %+v, up %d s", p, status.UptimeSeconds)
	}
	book, err := readBook(filepath.Join(s.dir, "book"))
	if err != nil {
		t.Fatal(err)
	}
	sent := map[string]int{}
	for _, d := range r.Devices {
		sent[d.Token] = int(d.Sent)
	}
	if err := checkBook(book, sent); err != nil {
		t.Error(err)
	}
	log := s.running["host"].output()
	if n := strings.Count(log, "the clock was set"); n == 0 || strings.Contains(log, "draining") || strings.Contains(log, "connection lost") {
		t.Errorf("the log tells of %d steps, or of more\n%s", n, s.running["host"].tail())
	}
	s.do(t, s.finishCmd, "host")
	t.Logf("%d upstreams over one connection", r.Created)
}

// An event that failed under a clock that was ahead, with its whole lane, waits
// no longer than its backoff after a start with the clock set right; one that
// failed under one that was behind neither. // P5
func TestClockOfARetry(t *testing.T) {
	all := clocks(t)
	for _, step := range settings() {
		for _, end := range []string{"finish", "crash"} {
			s := clocked(t)
			set(t, all["host"], step)
			s.do(t, s.startCmd, "sim")
			s.do(t, s.startCmd, "host")
			for i := range 3 {
				do := ""
				if i == 0 {
					do = `,"do":"err"`
				}
				s.do(t, s.askCmd, "sim", "/upstream", fmt.Sprintf(`{"from":"phone","message_id":"m%d","category":"com.example.echo","data":{"n":"%d"%s}}`, i+1, i+1, do))
			}
			s.says(t, "event was not handled")
			if end == "crash" {
				s.do(t, s.crashCmd, "host")
			} else {
				s.do(t, s.finishCmd, "host")
			}
			write(t, filepath.Join(s.dir, "calm"), "", 0o600)
			set(t, all["host"], 0)
			s.do(t, s.startCmd, "host")
			s.awaits(t, `"received":3,`, "ask", "sim", "/devices/phone")
			s.do(t, s.finishCmd, "host")
			s.do(t, s.finishSim)
			set(t, all["host"], 0)
		}
	}
}

// A clock that is ahead for a while, of a host that runs or between two of its
// lives, expires no downstream, and what CCS sends again is known. // P4 P6
func TestClockAheadForAWhile(t *testing.T) {
	all := clocks(t)
	s := clocked(t)
	s.do(t, s.startCmd, "sim")
	s.do(t, s.startCmd, "host")
	upstream := func(n int) {
		t.Helper()
		s.do(t, s.askCmd, "sim", "/upstream", fmt.Sprintf(`{"from":"phone","message_id":"m%d","category":"com.example.echo","data":{"n":"%d"}}`, n, n))
	}
	upstream(1)
	s.awaits(t, `"received":1,`, "ask", "sim", "/devices/phone")
	set(t, all["host"], 20*24*time.Hour)
	s.says(t, `the clock was set ahead by 480h0m0s`)
	upstream(1)
	s.awaits(t, `"duplicates": 1,`, "balhost", "status", "--json")

	s.do(t, s.finishSim)
	send := func(n int) {
		t.Helper()
		s.awaits(t, `message_id|^[0-9A-Z]{26}`, "balhost", "send", "--to", "tablet", "--data", `{"n":"`+strconv.Itoa(n)+`"}`, "--ttl", "1h")
	}
	set(t, all["host"], 0)
	s.says(t, `the clock was set back by 480h0m0s`)
	send(1)
	set(t, all["host"], 20*24*time.Hour)
	send(2) // has the outbox look
	s.do(t, s.finishCmd, "host")
	s.do(t, s.startCmd, "host")
	send(3)
	set(t, all["host"], 0)
	s.do(t, s.finishCmd, "host")
	s.do(t, s.startCmd, "host")
	s.says(t, `the clock was set back by 480h0m0s while the host was not running`)
	s.do(t, s.startCmd, "sim")
	var d ccssim.DeviceReport
	out := s.awaits(t, `"received":3,`, "ask", "sim", "/devices/tablet")
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatal(err)
	}
	for _, r := range d.Last {
		if ttl, err := strconv.Atoi(string(r.TTL)); err != nil || ttl > 3600 || ttl < 3000 {
			t.Errorf("a downstream of an hour came with time_to_live %s", r.TTL)
		}
	}
	s.do(t, s.finishCmd, "host")
}
