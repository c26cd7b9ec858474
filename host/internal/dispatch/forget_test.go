package dispatch

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"balhost/host/internal/entry"
)

// series are the names of metrics that have something of a plugin.
func series(t testing.TB, r *prometheus.Registry, plugin string) (names []string) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "plugin" && l.GetValue() == plugin {
					names = append(names, f.GetName())
				}
			}
		}
	}
	return names
}

// A forgotten plugin is in no status and has no series, pause or category, while others go on.
// One of its name that comes later gets what comes from then on.
func TestForget(t *testing.T) {
	booted(t, func(b *bench) {
		r := prometheus.NewRegistry()
		m := b.d.metrics
		r.MustRegister(m.ends, m.waits, m.handlings, m.stucks, m.reruns)
		p, other := b.echo(done), b.plugin("other", "others", done)
		b.upstreams("anna", "1")
		synctest.Wait()
		if err := b.d.Absent(b.Context(), "echo"); err == nil {
			t.Error("it may be forgotten, and runs")
		}
		if err := b.d.Pause(b.Context(), "echo"); err != nil {
			t.Fatal(err)
		}
		if err := b.d.PauseDevice(b.Context(), "echo", Device{Hash: 5, Session: "1", Brief: "dev"}); err != nil {
			t.Fatal(err)
		}
		if len(series(t, r, "echo")) == 0 {
			t.Fatal("it has no series")
		}
		p.plugin.Gone("its file is gone")
		b.d.Removed("echo")
		b.upstreams("anna", "2", "3")
		b.ledger.timer("echo", "key", entry.Lane{Kind: entry.Timer})
		synctest.Wait()
		if err := b.d.Absent(b.Context(), "echo"); err != nil {
			t.Error(err)
		}
		if n, err := b.d.Pauses("echo"); n != 2 || err != nil {
			t.Errorf("%d pauses, %v", n, err)
		}
		seen, err := b.d.Seen(b.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.d.Gone(b.ledger.erase(seen-2, seen-1, seen))
		b.ledger.SetOwner("app", "", func(error) {})
		if err := b.d.Forget(b.Context(), "echo"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s := b.status()
		if len(s.Plugins) != 1 || s.Plugins[0].Name != "other" || len(s.Holding) != 0 {
			t.Errorf("there are %+v, and waiting %+v", s.Plugins, s.Holding)
		}
		if names := series(t, r, "echo"); len(names) > 0 {
			t.Errorf("it still has %q", names)
		}
		if n, err := b.d.Pauses("echo"); n != 0 || err != nil {
			t.Errorf("%d pauses are left, %v", n, err)
		}
		b.upstreams("anna", "4")
		b.ledger.upstream("others", "berta", "5")
		synctest.Wait()
		b.wantIDs(other, "5")
		if s := b.status(); len(s.Holding) != 1 || s.Holding[0].Category != "app" || s.Holding[0].Pending != 1 {
			t.Errorf("waiting %+v", s.Holding)
		}
		again := b.echo(done)
		synctest.Wait()
		b.wantIDs(again, "4")
	})
}

// What came back by a replay while its plugin was forgotten is not lost: it waits for a plugin of
// that name. // P8
func TestForgetKeepsWhatWaits(t *testing.T) {
	booted(t, func(b *bench) {
		b.ledger.outcome("echo", "room")
		synctest.Wait()
		if err := b.d.Forget(b.Context(), "echo"); err != nil {
			t.Fatal(err)
		}
		s := b.status()
		if i := slices.IndexFunc(s.Plugins, func(p PluginStatus) bool { return p.Name == "echo" }); i < 0 || s.Plugins[i].Pending != 1 {
			t.Errorf("there are %+v", s.Plugins)
		}
		b.echo(done)
		synctest.Wait()
		if n := b.ledger.pending(); n != 0 {
			t.Errorf("%d wait", n)
		}
	})
}
