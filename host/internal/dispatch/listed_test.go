package dispatch

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/wire"
)

func (p *process) list(id uint64, m *wire.Delivery, l *wire.List) {
	p.plugin.Frame(&wire.PluginFrame{Call: []*wire.Call{{Id: id, Delivery: m.Delivery, Op: &wire.Call_List{List: l}}}})
	synctest.Wait()
}

// listedAndWrote ends a run that has listed a prefix and written these keys.
func (p *process) listedAndWrote(m *wire.Delivery, prefix string, keys ...string) {
	c := &wire.Changes{Range: []*wire.Range{{Prefix: prefix, Digest: wire.Digest{}.Bytes()}}}
	for _, key := range keys {
		c.Write = append(c.Write, &wire.Write{Key: key, Value: []byte("1")})
	}
	p.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_DONE, Changes: c})
	synctest.Wait()
}

func TestList(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil)
		b.ledger.put("a/1", "1")
		b.ledger.put("a/2", "2")
		p.list(1, &wire.Delivery{}, &wire.List{Prefix: "a/"})
		l := p.reply(1).GetList()
		if len(l.GetItem()) != 2 || l.Item[1].Key != "a/2" || string(l.Item[1].Value) != "2" || l.Item[1].Version != 7 || l.More {
			t.Errorf("listed %v", l)
		}
		if seen, err := (&wire.Range{Digest: l.Digest}).Seen(); err != nil || seen != (wire.Digest{Keys: 2, Newest: 7}) {
			t.Errorf("digest %v: %v", seen, err)
		}
		p.list(2, &wire.Delivery{}, &wire.List{Prefix: strings.Repeat("x", 513)})
		if r := p.reply(2); r.Code != wire.Reply_INVALID || r.List != nil {
			t.Errorf("a long prefix: %v", r)
		}
		b.ledger.breaks(errors.New("broken"))
		p.list(3, &wire.Delivery{}, &wire.List{})
		if r := p.reply(3); r.Code != wire.Reply_UNAVAILABLE || r.List != nil {
			t.Errorf("a ledger that can't be read: %v", r)
		}
	})
}

// TestLoserHasItsPrefix: while one that has lost over a list runs again, who writes under its
// prefix waits, and so does the next who lists it. // P7 P10
func TestLoserHasItsPrefix(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil)
		for _, device := range []string{"anna", "bert", "carl", "dora"} {
			b.ledger.upstream("app", device, device)
		}
		synctest.Wait()
		m := p.deliveries()
		b.ledger.mu.Lock()
		b.ledger.conflict[1] = 1
		b.ledger.mu.Unlock()
		p.listedAndWrote(m[0], "order/", "order/1")
		again := p.last()
		if again.GetUpstream().GetMessageId() != "anna" || again.Attempt != 1 {
			t.Fatalf("handed out %v, want the one that has lost", again)
		}
		if s := b.status().Plugins[0]; s.Reruns != 1 || s.RerunKey != "order/*" {
			t.Errorf("status: %+v", s)
		}
		p.wrote(m[1], "order/2")
		p.wrote(m[2], "orders")
		if got := b.ended(); !slices.Equal(got, []uint64{3}) {
			t.Fatalf("ended: %v, want the one beside the prefix alone", got)
		}
		p.list(10, again, &wire.List{Prefix: "order/"})
		p.list(11, m[3], &wire.List{Prefix: "order/"})
		p.list(12, m[3], &wire.List{Prefix: "free/"})
		if p.reply(10) == nil || p.reply(11) != nil || p.reply(12) == nil {
			t.Error("want the loser's list at once, and another's of the same prefix later")
		}
		p.listedAndWrote(again, "order/", "order/1")
		if got := b.ended(); !slices.Equal(got, []uint64{3, 1, 2}) {
			t.Errorf("ended: %v, and the commit under the prefix still waits", got)
		}
		if p.reply(11) == nil {
			t.Error("the list of the prefix still waits")
		}
		p.listedAndWrote(m[3], "order/")
		if got := b.ended(); len(got) != 4 {
			t.Errorf("ended: %v", got)
		}
	})
}

// TestListedPrefixesAreForgotten: they are few, and not kept for ever.
func TestListedPrefixesAreForgotten(t *testing.T) {
	l, now := listed{}, time.Now()
	for i := range 3 * maxListed {
		l.lost(fmt.Sprint(i), now.Add(time.Duration(i)))
	}
	if _, last := l[fmt.Sprint(3*maxListed-1)]; len(l) != maxListed || !last {
		t.Errorf("%d prefixes, the last one: %v", len(l), last)
	}
	l.tidy(now.Add(time.Hour))
	if names := l.writes(entry.Changes{Writes: []entry.Write{{Key: "1"}}}); !slices.Equal(names, []string{"1"}) {
		t.Errorf("a write of 1 is one of %q", names)
	}
}

// TestListedWithoutADigest: what can't be a host's digest can never be committed.
func TestListedWithoutADigest(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil)
		b.upstreams("anna", "1")
		synctest.Wait()
		p.result(&wire.Result{Delivery: p.last().Delivery, Code: wire.Result_DONE, Changes: &wire.Changes{Range: []*wire.Range{{Prefix: "a", Digest: []byte("x")}}}})
		synctest.Wait()
		ends := b.ledger.ends()
		if len(ends) != 1 || ends[0].Verdict != entry.Dead || !strings.Contains(ends[0].Reason, "digest of 1 bytes") {
			t.Errorf("ended as %+v", ends)
		}
	})
}
