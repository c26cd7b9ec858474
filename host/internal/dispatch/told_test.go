package dispatch

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/feed"
	"balhost/host/internal/instance"
	"balhost/sdk/wire"
)

// watched are a dispatcher's options that tell a hub.
func watched(hub *feed.Hub) func(*Dispatcher) { return func(d *Dispatcher) { d.o.Feed = hub } }

// Who watches hears what becomes of an event at its plugin, in order, with the attempt, the
// version, how long it took, and why it failed.
func TestStepsAreTold(t *testing.T) {
	hub := &feed.Hub{}
	r, err := hub.Read(feed.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	booted(t, func(b *bench) {
		n := 0
		p := b.echo(func(p *process, m *wire.Delivery) {
			time.Sleep(1500 * time.Microsecond)
			switch n++; n {
			case 1:
				p.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_RETRY, Error: "not now"})
			case 2:
				p.done(m)
			case 3:
				p.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_REJECT, Error: "never"})
			}
		}, func(f *instance.Facts) { f.Version = "1.2" })
		b.upstreams("phone", "m1", "m2", "m3")
		time.Sleep(time.Minute)
		synctest.Wait()
		p.plugin.Gone("killed by signal 9")
		synctest.Wait()
		steps, _ := r.Take()
		var got []string
		for _, s := range steps {
			got = append(got, fmt.Sprintf("%s %s %s %d %s", s.ID, s.What, s.Kind, s.Attempt, s.Error))
			if s.Plugin != "echo" || s.Version != "1.2" || s.Device != "phone" || s.Category != "app" || s.What == feed.Handled && s.Took < 1.5 || s.What == feed.Retried && s.Due.IsZero() {
				t.Errorf("step %+v", s)
			}
		}
		want := []string{
			"e-m1 handed upstream 1 ", "e-m1 retried upstream 1 not now", "e-m1 handed upstream 2 ", "e-m1 handled upstream 2 ",
			"e-m2 handed upstream 1 ", "e-m2 dead upstream 1 rejected: never", "e-m3 handed upstream 1 ", "e-m3 returned upstream 1 killed by signal 9",
		}
		if !slices.Equal(got, want) {
			t.Errorf("told\n%q, want\n%q", got, want)
		}
	}, watched(hub))
}
