package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"balhost/host/internal/plugincheck"
)

// What plugin check prints, and how it exits. What it finds is tested where it is made.
func TestPluginCheckCommand(t *testing.T) {
	echo := filepath.Join(builtPlugins(t), "echo")
	still := filepath.Join(t.TempDir(), "still")
	if err := os.WriteFile(still, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		code   int
		out    string
		errors string
	}{
		{echo + " --only file,upstream,ids", 0, "ROW           VERDICT        FOUND\nfile          ok             sha256 ", ""},
		{echo + ` --only upstream --data {"n":1}`, 0, "upstream      warns          RETRY", ""},
		{echo + " --only lode", exitUsage, "", `there is no row "lode"`},
		{echo + " --data {", exitUsage, "", "--data { is not JSON"},
		{echo + " --config config.hcl", exitUsage, "", "--config is no JSON object"},
		{echo + " --messages 0", exitUsage, "", "--messages 0"},
		{echo + " --only configure --config {\"x\":1}", exitFailed, "it refuses to start", "echo does not keep to the contract: configure"},
		{still + " --only load", exitFailed, "load          not checked", "still could not be checked: load"},
		{still, exitFailed, "mend: sdk/wire/PROTOCOL.md §1", "still does not keep to the contract: handshake"},
		{still + "-not", exitFailed, "", "no such file"},
	} {
		code, out, errors := line(t, append([]string{"plugin", "check"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errors, c.errors) {
			t.Errorf("%s: %d\n%s%s", c.args, code, out, errors)
		}
	}
	_, out, _ := line(t, "plugin", "check", echo, "--only", "describe,upstream", "--json", "-c", "../config.hcl")
	var report plugincheck.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.Plugin != "echo" || report.Version == "" || len(report.SHA256) != 64 || len(report.Rows) != 2 || report.Took == 0 {
		t.Errorf("%v in %s", err, out)
	}
}
