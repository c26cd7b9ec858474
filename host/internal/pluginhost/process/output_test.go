package process

import (
	"io"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestOutputAdmits(t *testing.T) {
	log := hclog.New(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Info})
	o, now := NewOutput(log, 3), time.Unix(100, 0)
	admit := func(level hclog.Level, wantOK bool, wantDropped uint64) {
		t.Helper()
		_, dropped, ok := o.admit(level, 1, now)
		if ok != wantOK || dropped != wantDropped {
			t.Errorf("admitted %v, dropped %d; want %v, %d", ok, dropped, wantOK, wantDropped)
		}
	}
	admit(hclog.Debug, false, 0) // below the host's level: not counted
	for range 3 {
		admit(hclog.Info, true, 0)
	}
	admit(hclog.Error, false, 0)
	admit(hclog.Error, false, 0)
	now = now.Add(time.Second)
	admit(hclog.Info, true, 2)
	admit(hclog.Info, true, 0)
	o.Set(hclog.Debug)
	if floor, _, ok := o.admit(hclog.Debug, 1, now); !ok || floor != hclog.Info || o.Level() != "debug" {
		t.Errorf("floor %v, %v, %s: what a person wants to see must pass the host's level", floor, ok, o.Level())
	}
}

// P10: long lines fill the host's log no faster than short ones.
func TestOutputAdmitsSoManyBytes(t *testing.T) {
	o, now := NewOutput(hclog.NewNullLogger(), 1<<20), time.Unix(100, 0)
	o.Set(hclog.Info)
	var admitted int
	for range 60 * 100 { // a minute of 1.6 MiB/s
		now = now.Add(10 * time.Millisecond)
		if _, _, ok := o.admit(hclog.Info, maxLine, now); ok {
			admitted += maxLine
		}
	}
	if most := logBurst + 60*logRate; admitted > most || admitted < most-2*maxLine {
		t.Errorf("%d bytes admitted in a minute, want about %d", admitted, most)
	}
}
