package ccs_test

import (
	"strings"
	"testing"
	"time"

	"balhost/host/internal/ccs"
	"balhost/host/internal/ccssim"
	"balhost/sdk/message"
)

// What CCS hears of a TTL is what is left of it: after a wait for the network,
// for a retry, and for a connection that died. None is none, and 0 is 0.
func TestRemainingTTLOnTheWire(t *testing.T) { // P4
	patient := func(o *ccs.Options) { quick(o); o.Backoff.Max = time.Second } // the network is away for 10 minutes
	host(t, plan{session: patient}, func(w *whole) {
		send := func(id string, ttl *time.Duration) {
			m := one("tokA", id, nil)
			m.Options.TTL = ttl
			w.send(m)
		}
		wrote := func(id string) (said string) {
			t.Helper()
			for _, s := range w.said(0) {
				if strings.Contains(s, `"message_id":"`+id+`"`) {
					said = s // the last time
				}
			}
			return said
		}
		has := func(id, want string) {
			t.Helper()
			if s := wrote(id); !strings.Contains(s, want) {
				t.Errorf("%s: no %s in %s", id, want, s)
			}
		}
		w.links.set(true)
		w.srv.Cut()
		send("hour", message.TTL(time.Hour))
		send("none", nil)
		send("short", message.TTL(time.Minute))
		send("zero, late", message.TTL(0))
		time.Sleep(10 * time.Minute)
		w.links.set(false)
		w.until("two outcomes", func() bool { return w.led.Counts().Acked == 2 })
		has("hour", `"time_to_live":30`) // 3000 s, and what the backoff took
		if s := wrote("none"); s == "" || strings.Contains(s, "time_to_live") {
			t.Errorf("none: %s", s)
		}
		for _, id := range []string{"short", "zero, late"} {
			if o := w.outcomes()[id]; o.Status != message.Expired || wrote(id) != "" {
				t.Errorf("%s: %+v, %s", id, o, wrote(id))
			}
		}

		send("zero", message.TTL(0))
		w.until("outcome", func() bool { return w.led.Counts().Acked == 3 })
		has("zero", `"time_to_live":0}`)

		w.srv.Nack(ccssim.Nack{Count: 4, Code: "INTERNAL_SERVER_ERROR"})
		send("refused", message.TTL(time.Hour))
		w.until("outcome", func() bool { return w.led.Counts().Acked == 4 })
		if o := w.outcomes()["refused"]; o.Attempts != 5 {
			t.Errorf("refused: %+v", o)
		}
		has("refused", `"time_to_live":35`) // 1 + 2 + 4 + 8 s at least

		w.srv.Nack(ccssim.Nack{Count: 1}) // never answered: it can't expire while in flight
		send("in flight", message.TTL(20*time.Second))
		time.Sleep(50 * time.Second)
		if n := w.led.Counts().Expired; n != 2 {
			t.Errorf("%d expired, want 2: it was in flight", n)
		}
		w.srv.Cut()
		w.until("its end", func() bool { return len(w.outcomes()) == 7 })
		if o := w.outcomes()["in flight"]; o.Status != message.Expired || o.Attempts != 1 {
			t.Errorf("in flight: %+v", o)
		}
		w.legal()
	})
}
