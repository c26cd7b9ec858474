package ccssim

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/xmpp"
)

// Spec: ccs-protocol.md §7.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{Run: "r", AckDelay: Range{Min: time.Second}, Keepalive: -1})
		c := login(t, s)
		c.downstream(`{"to":"t","message_id":"before"}`)
		synctest.Wait()
		equal(t, "drained", s.DrainWith(Drain{Grace: Duration(time.Minute)}), 1)
		begin := time.Now()
		equal(t, "control", fmt.Sprint(c.payload()), "map[control_type:CONNECTION_DRAINING message_type:control]")
		c.downstream(`{"to":"t","message_id":"after"}`)
		equal(t, "in the pipeline", c.payload()["message_type"], any("ack"))
		m := c.payload()
		equal(t, "new", fmt.Sprint(m["message_id"], m["error"]), "afterCONNECTION_DRAINING")
		s.Upstream("tok", "", nil)
		equal(t, "upstream goes on", c.receive(1)[0], "tok u-r-3")

		fresh := login(t, s) // the new connection is not draining
		fresh.downstream(`{"to":"t","message_id":"after"}`)
		equal(t, "elsewhere", fresh.payload()["message_type"], any("ack"))

		c.ack("tok", "u-r-3")
		c.nc.SetReadDeadline(time.Time{})
		if _, err := c.read(); !errors.Is(err, xmpp.ErrClosed) || time.Since(begin) != time.Minute {
			t.Errorf("after %v: %v, want the stream's end after a minute", time.Since(begin), err)
		}
		equal(t, "acked", s.Counts().Acked, 1)

		s.DrainWith(Drain{Silent: true, NoUpstream: true})
		s.Upstream("tok", "", nil)
		fresh.silent(time.Hour)
		fresh.downstream(`{"to":"t","message_id":"x"}`)
		equal(t, "the nack tells", fresh.payload()["error"], any("CONNECTION_DRAINING"))
		s.Close()
	})
}

func TestFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{Keepalive: 10 * time.Second})
		c := login(t, s)
		s.Freeze(true)
		s.Freeze(true)
		c.downstream(`{"to":"t","message_id":"m"}`)
		c.silent(time.Hour)
		equal(t, "spaces", c.r.Spaces(), 0)
		equal(t, "seen", s.Counts().Downstreams, 0)
		s.Freeze(false)
		equal(t, "after the thaw", c.payload()["message_id"], any("m"))
		s.Freeze(true)
		s.Close() // must not hang
	})
}

func TestBlackhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{})
		c := login(t, s)
		if _, err := s.CutWith(Cut{Mode: CutBlackhole}); err != nil {
			t.Fatal(err)
		}
		c.write(strings.Repeat(" ", 100_000)) // writes still succeed
		c.silent(time.Hour)
		equal(t, "bound", len(s.pick(0)), 0)
		s.Close()
	})
}

// Cut{After: n} cuts after exactly n more bytes.
func TestCutAfter(t *testing.T) {
	for _, n := range []int{1, 2, 100, 333} {
		s := newServer(t, Options{})
		c := login(t, s)
		if picked, err := s.CutWith(Cut{After: n}); picked != 1 || err != nil {
			t.Fatal(picked, err)
		}
		s.StartDevices(Devices{Count: 1, Size: 1000})
		b, _ := io.ReadAll(c.nc)
		equal(t, "bytes", len(b), n)
	}
}

func TestStreamErrorAndInject(t *testing.T) {
	s := newServer(t, Options{})
	c := login(t, s)
	equal(t, "connections", s.Inject(`<message><gcm xmlns="google:mobile:data">{"message_type":"later"}</gcm></message>`), 1)
	equal(t, "injected", c.payload()["message_type"], any("later"))
	s.StreamError("system-shutdown")
	_, err := c.read()
	var se *xmpp.StreamError
	equal(t, "stream error", errors.As(err, &se) && se.Condition == "system-shutdown", true)
	c.over()
}

func TestWrongCuts(t *testing.T) {
	s := newServer(t, Options{})
	for _, c := range []Cut{{Mode: "axe"}, {After: -1}} {
		if _, err := s.CutWith(c); err == nil {
			t.Errorf("no error for %+v", c)
		}
	}
	for _, o := range []Options{{Window: -1}, {Duplicates: 1}, {OverLimit: "shout"}, {Run: "a b"}, {AckDelay: Range{Min: -1}}} {
		if _, err := New(o); err == nil {
			t.Errorf("no error for %+v", o)
		}
	}
}
