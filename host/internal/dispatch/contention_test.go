package dispatch

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/sdk/wire"

	"github.com/hashicorp/go-hclog"
)

// reply is the answer to a call; nil: none yet.
func (p *process) reply(id uint64) *wire.Reply {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.frames {
		for _, r := range f.Reply {
			if r.Id == id {
				return r
			}
		}
	}
	return nil
}

func (p *process) get(id uint64, m *wire.Delivery, key string) {
	p.plugin.Frame(&wire.PluginFrame{Call: []*wire.Call{{Id: id, Delivery: m.Delivery, Op: &wire.Call_Get{Get: key}}}})
	synctest.Wait()
}

func (p *process) update(id, number uint64, c *wire.Changes) {
	p.plugin.Frame(&wire.PluginFrame{Call: []*wire.Call{{Id: id, Transaction: number, Op: &wire.Call_Update{Update: c}}}})
	synctest.Wait()
}

func (p *process) wrote(m *wire.Delivery, keys ...string) {
	c := &wire.Changes{}
	for _, key := range keys {
		c.Read = append(c.Read, &wire.Read{Key: key})
		c.Write = append(c.Write, &wire.Write{Key: key, Value: []byte("1")})
	}
	p.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_DONE, Changes: c})
	synctest.Wait()
}

// ended are the seqs whose ends are on disk.
func (b *bench) ended() (seqs []uint64) {
	for _, s := range b.ledger.ends() {
		seqs = append(seqs, s.Seq)
	}
	return seqs
}

// lost has the first of the given events, of a device each, lose once over a key,
// and returns the delivery of its next run, for which it has the key, and the others.
func (b *bench) lost(p *process, key string, devices ...string) (again *wire.Delivery, others []*wire.Delivery) {
	b.Helper()
	for _, device := range devices {
		b.ledger.upstream("app", device, device)
	}
	synctest.Wait()
	first := p.deliveries()
	if len(first) != len(devices) {
		b.Fatalf("%d handed out, want %d", len(first), len(devices))
	}
	b.ledger.mu.Lock()
	b.ledger.conflict[1] = 1
	b.ledger.mu.Unlock()
	p.wrote(first[0], key)
	again = p.last()
	if again.GetUpstream().GetMessageId() != devices[0] || again.Attempt != 1 || again.Delivery == first[0].Delivery {
		b.Fatalf("handed out %v, want the one that has lost, at once and as the same attempt", again)
	}
	return again, first[1:]
}

// TestLoserHasItsKeys: while one that has lost runs again, others' commits of its
// keys wait, and no longer than it does: it ends, its process dies, or its time is up. // P7 P10
func TestLoserHasItsKeys(t *testing.T) {
	for name, end := range map[string]func(b *bench, p *process, again *wire.Delivery){
		"done": func(b *bench, p *process, again *wire.Delivery) { p.wrote(again, "k") },
		"error": func(b *bench, p *process, again *wire.Delivery) {
			p.result(&wire.Result{Delivery: again.Delivery, Code: wire.Result_RETRY})
		},
		"given back": func(b *bench, p *process, again *wire.Delivery) {
			p.result(&wire.Result{Delivery: again.Delivery, Code: wire.Result_RELEASE})
		},
		"killed": func(b *bench, p *process, again *wire.Delivery) { p.plugin.Gone("killed") },
		"hangs":  func(b *bench, p *process, again *wire.Delivery) { time.Sleep(40 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			booted(t, func(b *bench) {
				p := b.echo(nil)
				again, others := b.lost(p, "k", "anna", "bert", "carl")
				p.wrote(others[0], "k")
				p.wrote(others[1], "other")
				if got := b.ended(); !slices.Equal(got, []uint64{3}) {
					t.Fatalf("ended: %v, want the one of another key alone", got)
				}
				if s := b.status().Plugins[0]; s.Turns != 1 || s.Reruns != 1 || s.RerunKey != "k" {
					t.Errorf("status: %+v", s)
				}
				end(b, p, again)
				synctest.Wait()
				if got := b.ended(); !slices.Contains(got, 2) {
					t.Errorf("ended: %v, and the commit of another still waits", got)
				}
			})
		})
	}
}

// TestOtherProcessWaitsToo: the keys are the plugin's, whichever process runs. // P9
func TestOtherProcessWaitsToo(t *testing.T) {
	booted(t, func(b *bench) {
		old := b.echo(nil)
		again, others := b.lost(old, "k", "anna", "bert")
		young := b.echo(nil)
		drained := make(chan error, 1)
		go func() { drained <- old.plugin.Drain(b.Context()) }()
		old.wrote(others[0])
		b.upstreams("dora", "dora")
		synctest.Wait()
		young.wrote(young.last(), "k")
		if got := b.ended(); !slices.Equal(got, []uint64{2}) {
			t.Fatalf("ended: %v: the new process commits beside the old one's run", got)
		}
		old.plugin.Gone("killed") // with the keys in its hands
		synctest.Wait()
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if got := b.ended(); !slices.Equal(got, []uint64{2, 3}) {
			t.Errorf("ended: %v", got)
		}
		if m := young.last(); m.GetUpstream().GetMessageId() != "anna" || m.Attempt != 1 || m.Delivery == again.Delivery {
			t.Errorf("the loser comes again as %v", m)
		}
	})
}

// TestGetsTakeTurns: at a key over which others have lost, a handler's Get waits
// for the one before, which can end, be given up, or take too long.
func TestGetsTakeTurns(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil)
		again, m := b.lost(p, "k", "anna", "bert", "carl", "dora", "emil")
		p.get(10, again, "k")
		p.get(11, m[0], "k")
		p.get(12, m[1], "k")
		p.get(13, m[2], "k")
		p.get(14, m[2], "free")
		p.get(15, &wire.Delivery{}, "k") // outside of an event
		for id, want := range map[uint64]bool{10: true, 11: false, 12: false, 13: false, 14: true, 15: true} {
			if got := p.reply(id) != nil; got != want {
				t.Errorf("call %d: answered %v, want %v", id, got, want)
			}
		}
		p.wrote(again, "k")
		if p.reply(11) == nil || p.reply(12) != nil {
			t.Error("the first in line has its turn, and nobody else")
		}
		p.plugin.Frame(&wire.PluginFrame{Abandon: []uint64{12}})
		p.wrote(m[0], "k")
		if p.reply(12) != nil || p.reply(13) == nil {
			t.Error("a Get that was given up has kept its place")
		}
		p.get(16, m[3], "k")
		before := p.reply(16)
		time.Sleep(3*time.Second + time.Millisecond)
		synctest.Wait()
		if before != nil || p.reply(16) == nil {
			t.Error("want an answer after a tenth of the handler's time")
		}
	})
}

// TestUpdateThatLost is answered when it has its keys, has them in its next run,
// and gives them back by that, by an update without changes, or after a while.
func TestUpdateThatLost(t *testing.T) {
	k := &wire.Changes{Read: []*wire.Read{{Key: "k"}}, Write: []*wire.Write{{Key: "k", Value: []byte("1")}}}
	for name, end := range map[string]func(b *bench, p *process){
		"runs again": func(b *bench, p *process) {
			p.update(2, 7, k)
			if r := p.reply(2); r == nil || r.Code != wire.Reply_OK {
				b.Errorf("its second run: %v", r)
			}
		},
		"gives up":        func(b *bench, p *process) { p.update(2, 7, &wire.Changes{}) },
		"is given up":     func(b *bench, p *process) { p.plugin.Frame(&wire.PluginFrame{Abandon: []uint64{1}}) },
		"is not heard of": func(b *bench, p *process) { time.Sleep(31 * time.Second) },
		"dies":            func(b *bench, p *process) { p.plugin.Gone("killed") },
	} {
		t.Run(name, func(t *testing.T) {
			booted(t, func(b *bench) {
				p := b.echo(nil)
				b.upstreams("anna", "1")
				synctest.Wait()
				b.ledger.updateConflicts = 1
				p.update(1, 7, k)
				if r := p.reply(1); r == nil || r.Code != wire.Reply_CONFLICT {
					t.Fatalf("reply %v, want CONFLICT", r)
				}
				p.wrote(p.last(), "k")
				if got := b.ended(); len(got) != 0 {
					t.Fatalf("a handler's commit goes beside: %v", got)
				}
				end(b, p)
				synctest.Wait()
				if got := b.ended(); len(got) != 1 {
					t.Error("a handler's commit still waits")
				}
			})
		})
	}
}

// TestRerunsAreTold: counted, shown, and warned of once in a while, with what a
// person needs to find the handler.
func TestRerunsAreTold(t *testing.T) {
	var log bytes.Buffer
	start(t, newLedger(), func(b *bench) {
		b.d.log = hclog.New(&hclog.LoggerOptions{Output: &log})
		b.d.Booted()
		p := b.echo(nil)
		again, _ := b.lost(p, "account/7", "anna")
		b.ledger.mu.Lock()
		b.ledger.conflict[1] = 1
		b.ledger.mu.Unlock()
		p.wrote(again, "account/7")
		if s := b.status().Plugins[0]; s.Reruns != 2 || s.RerunKey != "account/7" || s.Retried != 0 || s.LastFailure != "" {
			t.Errorf("status: %+v", s)
		}
	})
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 1 {
		t.Fatalf("want one warning for two re-runs:\n%s", log.String())
	}
	for _, want := range []string{"[WARN]", "plugin=echo", "lane=anna", "key=account/7", "id=e-anna", "runs=1"} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("no %q in: %s", want, lines[0])
		}
	}
}
