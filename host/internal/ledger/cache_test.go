package ledger

import (
	"fmt"
	"strings"
	"testing"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// TestCache: entries of one page cost one read of the disk, whenever they are read. A
// record that is older than its page misleads nobody, and one whose page has ended goes.
func TestCache(t *testing.T) {
	l := open(t, t.TempDir())
	l.sent.limit = 1
	data := fmt.Sprintf(`{"x":%q}`, strings.Repeat("x", 200))
	var sends []entry.Send
	for i := range 50 {
		sends = append(sends, send(fmt.Sprint("d-", i), data))
	}
	if err := updateAs(t, l, "p", entry.Changes{Sends: sends}); err != nil {
		t.Fatal(err)
	}
	all := l.Downstreams(0, 100)
	body := func(i int) {
		t.Helper()
		m, err := l.Downstream(all[i].Seq)
		if err != nil || m.MessageID != fmt.Sprint("d-", i) || string(m.Data) != data {
			t.Fatalf("downstream %d: %+v, %v", i, m, err)
		}
	}
	body(0)
	key := pageKey{kindDownstream, all[0].Seq}
	first, found := l.cache.get(key)
	if !found {
		t.Fatal("nothing was read from the disk")
	}
	for i := range all {
		body(i)
	}
	if again, _ := l.cache.get(key); &again.b[0] != &first.b[0] {
		t.Error("the page was read again")
	}

	end := func(from, to int) {
		t.Helper()
		for _, d := range all[from:to] {
			if err := await(t, func(done func(error)) {
				l.Finish(entry.End{Seq: d.Seq, Status: message.Acked, Attempts: 1}, done)
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	end(0, 40)
	o := &squeeze{kind: kindDownstream, before: l.tally.seq + 1}
	if err := await(t, func(done func(error)) { l.put(o, done) }); err != nil || o.next == 0 {
		t.Fatal(err, o.next)
	}
	l.cache.put(key, first) // by somebody who has read it before
	if left := l.Downstreams(0, 100); len(left) != 10 || left[0].Seq != all[40].Seq {
		t.Fatalf("left are %+v", left)
	}
	for i := 40; i < 50; i++ {
		body(i)
	}
	if _, err := l.Downstream(all[0].Seq); err == nil {
		t.Error("one that has ended is there")
	}
	l.cache.put(key, first)
	end(40, 50)
	if _, found := l.cache.get(key); found {
		t.Error("a page that has ended is still held")
	}
}

// TestCacheLimit: records hold what was used last, up to their limit.
func TestCacheLimit(t *testing.T) {
	c := newPageCache(100)
	put := func(first uint64, bytes int) { c.put(pageKey{kindEvent, first}, reader{b: make([]byte, bytes)}) }
	want := func(firsts ...uint64) {
		t.Helper()
		held := 0
		for _, first := range firsts {
			e := c.of[pageKey{kindEvent, first}]
			if e == nil {
				t.Fatalf("%d is gone", first)
			}
			held += len(e.Value.(*cached).b)
		}
		if len(c.of) != len(firsts) || c.used.Len() != len(firsts) || c.held != held {
			t.Fatalf("%d records, %d in order, %d bytes; want %d, %d", len(c.of), c.used.Len(), c.held, len(firsts), held)
		}
	}
	put(1, 40)
	put(2, 40)
	c.get(pageKey{kindEvent, 1})
	put(3, 40)
	want(1, 3)
	put(3, 50)
	want(1, 3)
	c.drop(pageKey{kindEvent, 1})
	c.drop(pageKey{kindEvent, 7})
	want(3)
	put(4, 101)
	want()
}
