package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"balhost/host/internal/admin"
	"balhost/host/internal/config"
	"balhost/host/internal/entry"
	"balhost/host/internal/ledger"
	"balhost/host/internal/pluginhost"
	"balhost/host/internal/status"
)

// P10: unfinished copies of plugins that filled the disk go before the ledger
// looks for room, or the host could never start again.
func TestSweepComesBeforeLedger(t *testing.T) {
	cfg := config.Config{DataDir: t.TempDir()}
	cfg.Ledger.DiskSoft, cfg.Ledger.DiskHard = 1<<60, 1<<60 // no disk has so much: the ledger doesn't open
	left := filepath.Join(cfg.DataDir, "plugins", "echo", ".staging-1")
	if err := os.MkdirAll(filepath.Dir(left), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{left, filepath.Join(filepath.Dir(left), ".balhost")} { // the mark of pluginhost's own folders
		if err := os.WriteFile(path, []byte("x"), 0o500); err != nil {
			t.Fatal(err)
		}
	}
	err := Run(context.Background(), cfg, Options{Log: hclog.NewNullLogger()})
	if err == nil || !strings.Contains(err.Error(), "free some and start again") {
		t.Fatalf("the host ended with %v, want a full disk", err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", left, err)
	}
}

// Whoever has to choose a session is told which ones there are, and how.
func TestChosenSession(t *testing.T) {
	two := entry.Senders{{Name: "main", ID: "1"}, {Name: "other", ID: "2"}}
	for _, c := range []struct {
		sessions entry.Senders
		name     string
		id       string
		says     string
	}{
		{two, "other", "2", ""},
		{two[:1], "", "1", ""},
		{two, "", "", "there are several sessions, say which one is meant: main, other (--session NAME"},
		{two, "mian", "", `there is no session "mian"; there are main, other`},
		{two, "2", "", `there is no session "2"; there are main, other`},
	} {
		id, err := chosen(c.sessions, c.name)
		if id != c.id || (err == nil) != (c.says == "") || err != nil && !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%q: %q, %v", c.name, id, err)
		}
		if unknown := c.name != "" && c.says != ""; errors.Is(err, entry.ErrUnknown) != unknown {
			t.Errorf("%q: %v is an unknown entry: %v", c.name, err, !unknown)
		}
	}
}

// A disk that can't be looked at is not one with nothing free.
func TestUnknownSpaceIsSaid(t *testing.T) {
	var l admin.Ledger
	tellSpace(&l, func() (ledger.Space, error) { return ledger.Space{}, errors.New("stale file handle") })
	if text, err := json.Marshal(l); err != nil || l.DiskError != "stale file handle" || strings.Contains(string(text), "free") {
		t.Errorf("%s, %v", text, err)
	}
	l = admin.Ledger{}
	tellSpace(&l, func() (ledger.Space, error) { return ledger.Space{Bytes: 7, Inodes: 8}, nil })
	if l.DiskError != "" || *l.DiskFree != 7 || *l.InodesFree != 8 {
		t.Errorf("%+v", l)
	}
}

// A file that has never served doesn't make the host unready; one that has does.
func TestMissed(t *testing.T) {
	before := []string{"abc"}
	for _, c := range []struct {
		p    pluginhost.Status
		want bool
	}{
		{pluginhost.Status{Process: status.Process{State: pluginhost.Refused}}, false},
		{pluginhost.Status{Process: status.Process{State: pluginhost.Backoff}}, false},
		{pluginhost.Status{Process: status.Process{State: pluginhost.Refused, Previous: before}}, true},
		{pluginhost.Status{Process: status.Process{State: pluginhost.Backoff, Previous: before}}, true},
		{pluginhost.Status{Process: status.Process{State: pluginhost.Running, Previous: before}}, false},
		{pluginhost.Status{Process: status.Process{State: pluginhost.Stopped, Previous: before}}, false},
	} {
		if got := missed(c.p); got != c.want {
			t.Errorf("%+v: %v", c.p, got)
		}
	}
}
