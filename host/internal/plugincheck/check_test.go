package plugincheck

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// faults are what the plugin of this test can do wrong, with the rows that then fail, or
// warn, and no others.
var faults = []struct {
	fault string
	fails string // rows, with commas between them
	warns string
}{
	{fault: "ignores revoke", fails: "revoke"}, // those that take long come first
	{fault: "no extend", fails: "extend"},
	{fault: "by hand it runs on", fails: "cookie"},
	{fault: "drains for ever", fails: "drain"},
	{fault: "loses a delivery", fails: "load"},
	{fault: "one after the other", fails: "parallel"},
	{fault: "lives on after a break", fails: "broken"},
	{fault: "lives on after a half-close", fails: "half-close"},
	{fault: "never drains", fails: "drain"},
	{fault: "no pong", fails: "ping"},
	{fault: "none"},
	{fault: "by hand status 0", fails: "cookie"},
	{fault: "by hand no hint", warns: "cookie"},
	{fault: "by hand a stack trace", warns: "cookie"},
	{fault: "results after the half-close"}, // which is none
	{fault: "no line", fails: "handshake"},
	{fault: "another protocol", fails: "handshake"},
	{fault: "garbage before the line", fails: "handshake"},
	{fault: "a banner before the line", warns: "handshake"},
	{fault: "no TLS", fails: "tls"},
	{fault: "another certificate", fails: "tls"},
	{fault: "any client certificate", fails: "client"},
	{fault: "no client certificate", fails: "client"},
	{fault: "not well", fails: "health"},
	{fault: "another name", fails: "describe"},
	{fault: "another manifest each time", fails: "describe"},
	{fault: "a capability too many", fails: "capabilities"},
	{fault: "refuses the config", fails: "configure"},
	{fault: "Configure fails", fails: "configure"},
	{fault: "takes any config", warns: "config"},
	{fault: "dies of a bad config", fails: "config"},
	{fault: "a second Session", fails: "twice"},
	{fault: "a second Configure", fails: "twice"},
	{fault: "run fails", warns: "run"},
	{fault: "an error without a code", fails: "codes", warns: "upstream"},
	{fault: "an unknown code", fails: "codes", warns: "upstream"},
	{fault: "random ids", fails: "ids"},
	{fault: "ids of the process", fails: "kill"},
	{fault: "ids of the device's message", fails: "ids"},
	{fault: "no ids", fails: "changes"},
	{fault: "a number in data", fails: "changes"},
	{fault: "reads are not listed", fails: "reads"},
	{fault: "keeps what it has read", fails: "conflict,reads"},
	{fault: "reads with version 0", fails: "conflict,reads"},
	{fault: "reads without a delivery", warns: "conflict"},
	{fault: "a call's id again", fails: "limits"},
	{fault: "fails under load", warns: "load"},
	{fault: "calls have no id", fails: "limits"},
	{fault: "too many calls", fails: "limits"},
	{fault: "dies of an unknown event", fails: "event"},
	{fault: "unknown events are done", fails: "event"},
	{fault: "dies of unknown fields", fails: "event,fields"},
	{fault: "small messages only", fails: "large"},
	{fault: "half of a pair", fails: "unicode"},
	{fault: "half of a pair in data", fails: "unicode"},
	{fault: "a cancelled handler is done", warns: "revoke"},
	{fault: "leaks", warns: "memory"},
	{fault: "ends twice", fails: "once"},
	{fault: "metrics fail", fails: "metrics"},
	{fault: "metrics are no text", fails: "metrics"},
	{fault: "a metric of the host's", fails: "metrics"},
	{fault: "a series for each event", fails: "metrics"},
	{fault: "metrics come late", warns: "metrics"},
	{fault: "logs below the level", fails: "logs"},
	{fault: "dies of signals", fails: "signals"},
	{fault: "no drained", fails: "drain"},
	{fault: "a drain is a RETRY", warns: "drain"},
	{fault: "drains in haste", fails: "drain"},
	{fault: "drains with an error", fails: "drain"},
	{fault: "exits slowly", fails: "exit"},
	{fault: "exits with a status", fails: "exit"},
	{fault: "a child that lives on", fails: "children"},
}

// Each fault fails at its own row, and at no other. Without one every row is ok: so every
// row is checked.
func TestEachFaultFailsAtItsRow(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real processes")
	}
	if runtime.GOOS != "linux" {
		t.Skip("what a process leaves behind, and its memory, are seen on Linux only")
	}
	var all errgroup.Group
	all.SetLimit(20) // they mostly wait
	defer func() { _ = all.Wait() }()
	for _, f := range faults {
		all.Go(func() error {
			t.Run(f.fault, func(t *testing.T) {
				report := run(t, faultyFor(t, f.fault))
				t.Logf("checked in %.1f s", report.Took)
				expect(t, report, Fails, f.fails)
				expect(t, report, Warns, f.warns)
				for _, row := range report.Rows {
					unlike := row.Verdict == None || row.Verdict == Unknown
					if f.fault == "none" && unlike {
						t.Errorf("%s is not checked: %s", row.Name, row.Found)
					}
					if row.Mend == "" && (row.Verdict == Fails || row.Verdict == Warns) || row.Mend != "" && !strings.Contains(row.Mend, "PROTOCOL.md §") {
						t.Errorf("%s does not say what to mend: %q", row.Name, row.Mend)
					}
				}
			})
			return nil
		})
	}
}

func run(t *testing.T, o Options) Report {
	t.Helper()
	report, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// expect fails unless exactly these rows have the verdict. A warning about a time may be
// there too: the machine may be busy.
func expect(t *testing.T, report Report, verdict Verdict, rows string) {
	t.Helper()
	got := report.Names(verdict)
	if verdict == Warns {
		for _, row := range report.Rows { // of a time, which is no fault of the plugin's
			if row.slow && !slices.Contains(strings.Split(rows, ","), row.Name) {
				got = slices.DeleteFunc(got, func(name string) bool { return name == row.Name })
			}
		}
	}
	for _, row := range report.Rows {
		if row.Verdict == verdict {
			t.Logf("%s %s: %s; mend: %s", row.Name, row.Verdict, row.Found, row.Mend)
		}
	}
	if strings.Join(got, ",") != rows {
		t.Errorf("%s: %q, want %q", verdict, strings.Join(got, ","), rows)
	}
}

// The table has a fault for each row that can fail.
func TestEveryRowHasAFault(t *testing.T) {
	var all []string
	for _, f := range faults {
		all = append(all, strings.Split(f.fails+","+f.warns, ",")...)
	}
	elsewhere := []string{"file", "program"} // TestFilesThatAreNoPlugins
	never := []string{"credit", "outcome", "receipt", "timer"}
	for _, r := range rows {
		if !slices.Contains(slices.Concat(all, elsewhere, never), r.name) {
			t.Errorf("no fault fails at %s", r.name)
		}
	}
}

// What the host doesn't take is told before anything is started.
func TestFilesThatAreNoPlugins(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		row  string
		says string
	}{
		"still":  {"#!/bin/sh\n", 0o600, "file", "not executable"},
		"Écrit":  {"#!/bin/sh\n", 0o700, "file", "no plugin's by its name"},
		"crlf":   {"#!/bin/sh\r\n", 0o700, "program", "end as on Windows"},
		"absent": {"#!/nowhere/python3\n", 0o700, "program", "which isn't there"},
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		report := run(t, Options{Path: path, Only: []string{"file", "program"}})
		at := slices.IndexFunc(report.Rows, func(r Row) bool { return r.Name == c.row })
		if row := report.Rows[at]; row.Verdict != Fails || !strings.Contains(row.Found, c.says) {
			t.Errorf("%s: %+v", name, report.Rows)
		}
	}
}

// A check leaves neither processes nor files, and can be ended.
func TestCheckCanBeEnded(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real process")
	}
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	o := faultyFor(t, "none")
	o.Tell = func(r Row) {
		if r.Name == "upstream" {
			stop()
		}
	}
	began := time.Now()
	if _, err := Run(ctx, o); err == nil {
		t.Error("it went on")
	}
	if time.Since(began) > time.Minute {
		t.Error("it took its time")
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestUnknownRow(t *testing.T) {
	_, err := Run(context.Background(), Options{Path: ".", Only: []string{"lode"}})
	if err == nil || !strings.Contains(err.Error(), `there is no row "lode"; the rows are file, `) {
		t.Error(err)
	}
}
