package dispatch

import (
	"testing"
	"testing/synctest"
	"time"

	"balhost/sdk/wire"
)

// Each pending event says what it waits for: of several reasons the one that counts.
func TestStanding(t *testing.T) {
	start(t, newLedger(), func(b *bench) {
		check := func(id string, want Reason) Standing {
			b.Helper()
			synctest.Wait()
			for _, e := range b.ledger.Events(0, 100) {
				body, err := b.ledger.Body(e.Seq)
				if err != nil || body.Upstream == nil || body.Upstream.MessageID != id {
					continue
				}
				s, err := b.d.Standing(b.Context(), e)
				if err != nil || s.For != want {
					b.Errorf("%s: %+v, %v, want %d", id, s, err, want)
				}
				return s
			}
			b.Errorf("%s is not pending", id)
			return Standing{}
		}
		b.upstreams("early", "e")
		check("e", Boot)
		b.d.Booted()
		check("e", Claim)
		p := b.echo(func(p *process, m *wire.Delivery) {
			switch m.GetUpstream().Device {
			case "early":
				p.done(m)
			case "bad":
				p.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_RETRY, DelayMs: 3_600_000, Error: "no"})
			}
		})
		b.upstreams("bad", "r", "r2")
		if s := check("r", Due); time.Until(s.Until) != time.Hour {
			b.Errorf("%+v", s)
		}
		if s := check("r2", Lane); s.Before != 1 || s.Behind == 0 {
			b.Errorf("%+v", s)
		}
		b.upstreams("slow", "h")
		if s := check("h", Handler); s.Plugin != "echo" || s.Limit != 30*time.Second {
			b.Errorf("%+v", s)
		}
		for range 40 {
			time.Sleep(time.Second)
			p.plugin.Frame(&wire.PluginFrame{Extend: []uint64{p.last().Delivery}})
		}
		if s := check("h", Hung); time.Since(s.Since) != 40*time.Second {
			b.Errorf("%+v", s)
		}
		if err := b.d.PauseDevice(b.Context(), "echo", deviceOf("anna")); err != nil {
			b.Fatal(err)
		}
		b.upstreams("anna", "a", "a2")
		for _, id := range []string{"a", "a2"} {
			if s := check(id, Paused); s.Device != deviceOf("anna").Brief || s.Since.IsZero() {
				b.Errorf("%+v", s)
			}
		}
		if err := b.d.Pause(b.Context(), "echo"); err != nil {
			b.Fatal(err)
		}
		if s := check("a", Paused); s.Device != "" || s.Since.IsZero() {
			b.Errorf("%+v", s)
		}
		check("h", Hung)
		if err := b.d.Resume(b.Context(), "echo"); err != nil {
			b.Fatal(err)
		}
		p.plugin.Gone("it crashed")
		check("h", NoProcess)
	})
}
