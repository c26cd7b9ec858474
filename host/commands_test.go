package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/ccssim"
	"balhost/host/internal/config"
	"balhost/host/internal/entry"
	"balhost/host/internal/status"
	"balhost/sdk/message"
)

// line runs a command line in this process.
func line(t *testing.T, args ...string) (code int, out, errors string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	root := rootCommand()
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetArgs(args)
	code = execute(t.Context(), root)
	return code, stdout.String(), stderr.String()
}

// answering runs an admin server for the commands until the test ends.
func answering(t *testing.T, f admin.Functions) {
	t.Helper()
	s, err := admin.Listen(admin.Options{Listen: "127.0.0.1:0", Functions: f, Metrics: prometheus.NewRegistry(), Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	t.Setenv("BALHOST_ADMIN", s.Addr())
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, "bad.hcl", "x = 1\n", 0o600)
	write(t, "open.hcl", "admin {\n  listen = \":1\"\n}\n", 0o600)
	t.Setenv("BALHOST_ADMIN", "unix:"+filepath.Join(dir, "none.sock"))
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"", 0, ""},
		{"--help", 0, ""},
		{"version", 0, ""},
		{"statsu", exitUsage, "did you mean state or status?"},
		{"dead lst", exitUsage, "did you mean list?"},
		{"dead show", exitUsage, "something is missing: want balhost dead show ID"},
		{"status extra", exitUsage, `"extra" is one too many: want balhost status`},
		{"pause a b", exitUsage, `"b" is one too many: want balhost pause (PLUGIN`},
		{"dead list --limti 3", exitUsage, "unknown flag: --limti; did you mean --limit?\nSee: balhost dead list --help"},
		{"dead list --limit abc", exitUsage, "--limit abc: want a whole number\nSee: balhost dead list --help"},
		{"send --ttl", exitUsage, "--ttl needs a value: a time such as"},
		{"send --to a --ttl 30d", exitUsage, "--ttl 30d: want a time such as 30s, 15m or 720h"},
		{"sim --sender x", exitUsage, "--sender x: want ID=KEY"},
		{"sim --ack-delay x", exitUsage, "--ack-delay x: want times such as"},
		{"sim --rate x", exitUsage, "--rate x: want a number"},
		{"run -x", exitUsage, "unknown shorthand flag: 'x' in -x\nSee: balhost run --help"},
		{"dead replay", exitUsage, "give the ids"},
		{"dead delete a --all", exitUsage, "give the ids"},
		{"dead list --limit 0", exitUsage, "want 1 to 1000"},
		{"status --bla", exitUsage, "unknown flag: --bla"},
		{"send", exitUsage, "want one recipient: --to, --fid, --topic or --condition"},
		{"send --to a --topic b", exitUsage, "want one recipient: --to, --fid, --topic or --condition"},
		{"send --to a --data {", exitUsage, "--data is not JSON"},
		{"send --to a --ttl 1500ms", exitUsage, "whole seconds"},
		{"run -c nope.hcl", exitConfig, "no such file or directory; name the file with -c"},
		{"run -c bad.hcl", exitConfig, "bad.hcl:1,1-2: Unsupported argument"},
		{"check -c bad.hcl", exitConfig, "    x = 1"},
		{"status", exitFailed, "no balhost is running at unix:"},
		{"send --to a --data {}", exitFailed, "is $BALHOST_ADMIN the address"},
		{"plugins --admin unix:none.sock", exitFailed, "is the address of --admin the one"},
	} {
		code, _, said := line(t, strings.Fields(tc.args)...)
		if code != tc.code || !strings.Contains(said, tc.says) {
			t.Errorf("balhost %s: exit %d instead of %d, said %q", tc.args, code, tc.code, said)
		}
	}
	for _, args := range [][]string{{"reload", ""}, {"pause", ""}, {"dead", "show", ""}, {"dead", "delete", "a", ""}, {""}} {
		if code, _, said := line(t, args...); code != exitUsage || strings.Contains(said, "/v1") {
			t.Errorf("balhost %q: exit %d, said %q", args, code, said)
		}
	}
	t.Setenv("BALHOST_ADMIN", "")
	write(t, "mine.hcl", "session \"main\" {\n  sender_id = \"1\"\n  ccs {\n    address = \"127.0.0.1:5236\"\n    server_key = \"k\"\n  }\n}\nadmin {\n  listen = \"unix:none.sock\"\n}\n", 0o600)
	if _, _, said := line(t, "pause", "echo", "-c", "mine.hcl"); !strings.HasSuffix(said, "; start it with: balhost run -c mine.hcl\n") {
		t.Errorf("with -c: %s", said)
	}
	if code, _, said := line(t, "status", "-c", "open.hcl"); code != exitConfig || !strings.Contains(said, "needs a token") {
		t.Errorf("an admin block that is wrong: %d %s", code, said)
	}
	if got := exitCode(fmt.Errorf("run: %w", coded{})); got != exitRecover {
		t.Errorf("an error that asks for %d got %d", exitRecover, got)
	}
}

type coded struct{}

func (coded) Error() string { return "the disk is full" }
func (coded) ExitCode() int { return exitRecover }

// Whoever types --help gets a sentence and an example everywhere.
func TestHelpEverywhere(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || c.Example == "" && c.Name() != "version" {
			t.Errorf("%s: no short help or no example", c.CommandPath())
		}
		if strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help ends with a full stop", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(rootCommand())
}

func TestStatus(t *testing.T) {
	now := time.Now()
	status := admin.Status{
		Version: "v1", PID: 7, Started: now, UptimeSeconds: 3723, Reasons: []string{`session "main" is not connected`},
		Sessions: []status.Session{{
			Name: "main", Address: "127.0.0.1:5236", Upstreams: 12, Waiting: 6, Oldest: now.Add(-3 * time.Hour),
			Connections: []status.Connection{{Number: 4, State: "waiting", Since: now, Window: 100}, {Number: 5, State: "waiting", Since: now}, {Number: 6, State: "waiting", Since: now}},
			LastError:   "dial\x1b[2J refused", LastErrorAt: now,
		}},
		Ledger: admin.Ledger{Counts: entry.Counts{Accepted: 12, Dead: 3}, DiskFree: new(int64(5 << 30))},
		Plugins: []admin.Plugin{
			{Name: "echo", Process: status.Process{State: "refused", Reason: "its name is not echo"}},
			{Name: "bad", Process: status.Process{State: "refused", Reason: "exited", Refusal: &status.Refusal{SHA256: strings.Repeat("a", 64), Reason: "exited", At: now.Add(-time.Minute), Tried: true}}},
			{Name: "old", Work: status.Work{Rate: 12.34, Pending: 5, Oldest: now.Add(-90 * time.Minute), HandlingP50: 0.357, HandlingP99: 2345}, Process: status.Process{State: "running", PID: 9, SHA256: strings.Repeat("b", 64), Reason: "exited",
				Refusal: &status.Refusal{SHA256: strings.Repeat("c", 64), Reason: "exited", At: now.Add(-time.Minute), Tried: true}}},
			{Name: "shy", Process: status.Process{State: "running", PID: 9, SHA256: strings.Repeat("b", 64), Pinned: true,
				Refusal: &status.Refusal{Reason: "anybody can change it: chmod go-w x", At: now.Add(-time.Minute)}}},
		},
		Holding: []status.Holding{{Category: "com.example.x", Pending: 9, Since: now}},
	}
	answering(t, admin.Functions{Status: func() admin.Status { return status }})
	code, out, said := line(t, "status")
	if code != 0 {
		t.Fatal(said)
	}
	for _, want := range []string{
		"balhost v1, pid 7, up 1h2m, not ready", `session "main" is not connected`, "waiting", "0/100", `dial\u001b[2J refused`,
		"2 more waiting", "3 dead letters; disk 5.0 GiB free", "12 stored", "echo: its name is not echo", " 12.3/s ", " 1h30m ", " 0.357ms ", " 2.35s ", " 3h0m ",
		"  bad: nothing serves; its content aaaaaaaaaaaa was refused 1m0s ago: exited; to fix it, replace the file, change its block in the config, or try this one again: balhost reload bad --force\n",
		"  old: content bbbbbbbbbbbb serves; the new content cccccccccccc was refused 1m0s ago: exited; to fix it, replace the file, change its block in the config, or try this one again: balhost reload old --force\n",
		"  shy: content bbbbbbbbbbbb serves; the new content was refused 1m0s ago: anybody can change it: chmod go-w x\n",
		"  shy: rolled back by hand: this stays until its file changes, or until balhost reload shy --force\n", `9 of category "com.example.x"`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "old: exited") {
		t.Errorf("a refusal's reason is told as that of what serves:\n%s", out)
	}
	var got admin.Status
	if code, out, _ := line(t, "status", "--json"); code != 0 || json.Unmarshal([]byte(out), &got) != nil || got.Ledger.Dead != 3 {
		t.Errorf("--json: %d\n%s", code, out)
	}
}

func TestDead(t *testing.T) {
	letters := []entry.DeadLetter{{ID: "a1", Kind: "upstream", Reason: "no such room", Plugin: "chat", From: "a-very-long-token-of-a-device"}, {ID: "a2", Kind: "upstream"}, {ID: "a3", Kind: "upstream", Unusable: true}}
	var replayed, deleted []string
	answering(t, admin.Functions{
		Dead:       func(admin.DeadQuery) (admin.DeadPage, error) { return admin.DeadPage{Dead: letters}, nil },
		DeadLetter: func(string) (entry.DeadLetter, error) { return letters[0], nil },
		Replay: func(ids []string) (int, []string, error) {
			if ids[0] == "a3" {
				return 0, nil, fmt.Errorf("dead letter a3: %w, because it is no JSON", entry.ErrUnusable)
			}
			replayed = append(replayed, ids...)
			if len(replayed) > 4 { // somebody else was there before
				return len(ids) - 1, ids[:1], nil
			}
			return len(ids), nil, nil
		},
		DeleteDead: func(ids []string) (int, []string, error) {
			if ids[0] == "none" {
				return 0, nil, entry.ErrUnknown
			}
			deleted = append(deleted, ids...)
			return len(ids), nil, nil
		},
	})
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"list", 0, "no such room"},
		{"list --json", 0, `"id": "a2"`},
		{"show a1", 0, `"reason": "no such room"`},
		{"replay --all", exitUsage, "dead letters to be replayed: 2; add --yes to confirm"},
		{"replay --all --yes", 0, "replayed 2\n1 stay, because no plugin can understand them"},
		{"replay --all --yes --json", 0, `"unusable": 1`},
		{"replay --all --yes", 0, "replayed 1\n1 were gone"},
		{"replay --all --yes --json", 0, `"gone": 1`},
		{"replay a1 a2", exitFailed, "replayed 1\n1 were gone"},
		{"replay a1 a2", exitFailed, "no such dead letter; it may have been replayed or deleted: a1"},
		{"replay a3", exitFailed, "dead letter a3: no plugin can handle it, because it is no JSON"},
		{"delete a2 --json", 0, `"deleted": 1`},
		{"list", 0, "DEVICE"},
		{"list", 0, "a-very-long-toke…"},
		{"delete none", exitFailed, "no such entry"},
	} {
		code, out, said := line(t, append([]string{"dead"}, strings.Fields(tc.args)...)...)
		if code != tc.code || !strings.Contains(out+said, tc.says) {
			t.Errorf("balhost dead %s: exit %d, %s%s", tc.args, code, out, said)
		}
	}
	if diff := cmp.Diff([][]string{slices.Repeat([]string{"a1", "a2"}, 6), {"a2"}}, [][]string{replayed, deleted}); diff != "" {
		t.Error(diff)
	}
}

// P10: what a device, a plugin or CCS wrote is shown and does nothing; JSON means
// what it meant.
func TestTerminalIsSafe(t *testing.T) {
	evil := "a\u009b2J\x1b[2J\x7f\u202egpj.exe\u2066\r\u200b\U000e0041é"
	letter := entry.DeadLetter{ID: "a1", Kind: "upstream", Reason: evil, Plugin: evil, Category: evil, From: evil, MessageID: evil, RawText: evil}
	raw, err := json.Marshal(map[string]string{"data": evil})
	if err != nil {
		t.Fatal(err)
	}
	shown := letter
	shown.RawText, shown.Raw = "", raw
	now := time.Now()
	status := admin.Status{
		Reasons: []string{evil}, Version: evil,
		Sessions: []status.Session{{Name: evil, Address: evil, LastError: evil, LastErrorAt: now, Connections: []status.Connection{{State: status.State(evil), Refused: evil}}}},
		Ledger:   admin.Ledger{DiskError: evil},
		Plugins:  []admin.Plugin{{Name: evil, Process: status.Process{State: status.State(evil), Reason: evil, Version: evil}, Work: status.Work{LastFailure: evil, LastFailureAt: now, Lost: []string{evil}, Paused: true}}},
		Holding:  []status.Holding{{Category: evil, Pending: 1}},
		Unusable: []status.Unusable{{Session: evil, Reason: evil, From: evil, MessageID: evil}},
	}
	answering(t, admin.Functions{
		Dead: func(admin.DeadQuery) (admin.DeadPage, error) {
			return admin.DeadPage{Dead: []entry.DeadLetter{letter}}, nil
		},
		DeadLetter: func(string) (entry.DeadLetter, error) { return shown, nil },
		Status:     func() admin.Status { return status },
		PauseBy:    func(context.Context, admin.PauseOrder) error { return errors.New(evil) },
		Reload: func(context.Context, admin.ReloadOrder) (admin.Reloaded, error) {
			return admin.Reloaded{Changed: []string{evil}}, nil
		},
	})
	for _, args := range []string{"dead list", "dead list --json", "dead show a1", "status", "status --json", "plugins", "plugins --json", "pause x", "reload", "dead show " + evil, evil, "dead list --" + evil} {
		_, out, said := line(t, strings.Split(args, " ")...)
		for _, r := range out + said {
			if !unicode.IsPrint(r) && r != '\n' {
				t.Fatalf("balhost %q writes %U:\n%q\n%q", args, r, out, said)
			}
		}
		if out+said == "" {
			t.Errorf("balhost %q says nothing", args)
		}
	}
	_, out, _ := line(t, "dead", "show", "a1")
	var got entry.DeadLetter
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Reason != evil || got.From != evil {
		t.Errorf("%v: %+v", err, got)
	}
	var data struct{ Data string }
	if err := json.Unmarshal(got.Raw, &data); err != nil || data.Data != evil {
		t.Errorf("the payload is %q: %v", data.Data, err)
	}
	var log strings.Builder
	for _, format := range []string{"text", "json"} {
		newLogger(config.Log{Level: "debug", Format: format}, &log).Named("p").Warn(evil, "err", evil, evil, "x\n"+evil, "list", []string{evil})
	}
	for _, r := range log.String() {
		if !unicode.IsPrint(r) && r != '\n' {
			t.Fatalf("the log has %U:\n%q", r, &log)
		}
	}
	for _, row := range fit([]string{evil, "b" + evil}, 200, 10) {
		if strings.ContainsFunc(row, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("the live view has %q", row)
		}
	}
}

// A config that a reload refuses ends the command as one that run refuses does.
func TestReloadOfAWrongConfig(t *testing.T) {
	answering(t, admin.Functions{Reload: func(context.Context, admin.ReloadOrder) (admin.Reloaded, error) {
		return admin.Reloaded{}, admin.Refusal{Err: errors.New("config.hcl:1,1-2: no"), Config: true}
	}})
	if code, _, said := line(t, "reload"); code != exitConfig || !strings.Contains(said, "config.hcl:1,1-2: no") {
		t.Errorf("%d %s", code, said)
	}
}

// P2: the id is printed when the host has stored the message, not before.
func TestSend(t *testing.T) {
	var got message.Checked
	refused := errors.New("the disk is full")
	answering(t, admin.Functions{Send: func(_ context.Context, d message.Checked) (string, error) {
		if d.Group == "full" {
			return "", refused
		}
		got = d
		return "d-1", nil
	}})
	code, out, said := line(t, "send", "--to", "tokA", "--data", `{"k":"v"}`, "--notification", `{"title":"T"}`, "--ttl", "0s",
		"--group", "g", "--session", "main", "--id", "mine", "--priority", "high", "--collapse-key", "c", "--receipt", "--dry-run")
	if code != 0 || out != "d-1\n" {
		t.Fatalf("%d %q %s", code, out, said)
	}
	want := message.Checked{
		To: message.Token("tokA"), Data: json.RawMessage(`{"k":"v"}`), Notification: json.RawMessage(`{"title":"T"}`),
		Options: message.Options{TTL: message.TTL(0), Priority: message.PriorityHigh, CollapseKey: "c", ReceiptRequested: true, DryRun: true},
		Group:   "g", Session: "main", MessageID: "mine",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	blocks := message.Options{Android: json.RawMessage(`{"a":1}`), APNS: json.RawMessage(`{"b":1}`), Webpush: json.RawMessage(`{"c":1}`)}
	if _, _, _ = line(t, "send", "--fid", "f", "--android", `{"a":1}`, "--apns", `{"b":1}`, "--webpush", `{"c":1}`); !cmp.Equal(got, message.Checked{To: message.FID("f"), Options: blocks}) {
		t.Errorf("to an installation: %+v", got)
	}
	if _, _, _ = line(t, "send", "--topic", "news", "--data", "{}"); got.Options.TTL != nil || got.To != message.Topic("news") {
		t.Errorf("without --ttl: %+v", got)
	}
	if code, out, said := line(t, "send", "--to", "t", "--data", "{}", "--group", "full"); code != exitFailed || out != "" || !strings.Contains(said, "the disk is full") {
		t.Errorf("refused: %d %q %q", code, out, said)
	}
}

func TestCheck(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "config.hcl", "session \"main\" {\n  sender_id = \"1\"\n  ccs {\n    address = \"127.0.0.1:5236\"\n    server_key = \"k\"\n    tls {\n      ca_file = \"ca.pem\"\n    }\n  }\n}\nplugin \"gone\" {}\n", 0o600)
	code, out, said := line(t, "check")
	if code != exitFailed || !strings.Contains(out, "without it no plugin can run") || !strings.Contains(out, "config.hcl can be read, but not used") || !strings.Contains(said, `session "main": ca_file: `) {
		t.Errorf("no folder, no ca_file: %d\n%s%s", code, out, said)
	}
	write(t, "ca.pem", "no certificate", 0o600)
	if code, out, said = line(t, "check", "--json"); code != exitConfig || !strings.Contains(out, "ca.pem has no certificate in PEM") || !strings.Contains(said, "has no certificate") {
		t.Errorf("no certificate: %d\n%s%s", code, out, said)
	}
	sim, err := ccssim.NewServer(ccssim.Options{CAFile: "sim.pem"})
	if err == nil {
		err = os.Rename("sim.pem", "ca.pem")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	if err := os.Mkdir("plugins", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, "plugins/echo", "#!/bin/sh\n", 0o755)
	write(t, "plugins/notes", "", 0o644)
	write(t, "plugins/.echo.swp", "", 0o755)
	if code, out, said = line(t, "check"); code != 0 {
		t.Errorf("exit %d: %s", code, said)
	}
	for _, want := range []string{"config.hcl is right: sessions 1", "echo       run", "not executable", ".echo.swp  ignored   -", "no plugin's by its name", `plugin "gone" has a block`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	write(t, "plugins/echo.bak", "#!/bin/sh\n", 0o755) // no plugin's by its name
	write(t, "plugins/setup", "MZ", 0o755)
	code, out, said = line(t, "check", "--json")
	var f findings
	if err := json.Unmarshal([]byte(out), &f); err != nil || code != exitFailed || !strings.Contains(said, "would be refused: setup\n") || !strings.Contains(out, "its file is a program for Windows") {
		t.Errorf("what can't be: %d %v\n%s%s", code, err, out, said)
	}
	write(t, "config.hcl", "x = 1", 0o600)
	if code, out, _ = line(t, "check", "--json"); code != exitConfig || !strings.Contains(out, `"place": "config.hcl:1,1-2"`) {
		t.Errorf("a wrong config: %d\n%s", code, out)
	}
}

func write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func TestShortDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 1500 * time.Microsecond: "2ms", 12900 * time.Millisecond: "12s", 185 * time.Second: "3m5s",
		130 * time.Minute: "2h10m", 76 * time.Hour: "3d4h",
	} {
		if got := short(d); got != want {
			t.Errorf("%v: %s instead of %s", d, got, want)
		}
	}
	if a, b := size(1023), size(13<<30+200<<20); a != "1023 B" || b != "13.2 GiB" {
		t.Errorf("%s, %s", a, b)
	}
}
