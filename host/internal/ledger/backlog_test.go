package ledger

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"balhost/host/internal/entry"
)

// TestPendingMemory: what waits costs memory less than 200 bytes each, and less
// the more there is, because what lies deep is on the disk alone. // P10
func TestPendingMemory(t *testing.T) {
	const n = 100_000
	l := open(t, t.TempDir(), func(o *Options) { o.Light, o.Sizes.MemTable = true, 1<<20 }) // badger's own memory is not meant
	data := fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", 100))
	var before uint64
	for i := range 2 * n {
		if i == n {
			mustAccept(t, l, "first", "first", data) // all that came before is committed then
			before = heapNow()
		}
		l.Accept(entry.Inbound{Upstream: upstream(fmt.Sprint("tok", i%1000), fmt.Sprint(i), data)}, nil)
	}
	mustAccept(t, l, "last", "last", data)
	var after uint64
	var each int64
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) { // badger may be writing a table just now
		after = heapNow()
		if each = (int64(after) - int64(before)) / n; each <= 50 || time.Now().After(end) {
			break
		}
	}
	t.Logf("%d bytes of memory for each of %d that are pending besides as many; %d MiB in all", each, n, after>>20)
	if each > 50 { // far less than 200, because the first ones filled what memory may hold
		t.Errorf("a pending event costs %d bytes of memory", each)
	}
	runtime.KeepAlive(l)
}

// heapNow is what the heap holds after what is garbage has gone.
func heapNow() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestDeepReaders: who reads what lies on the disk alone, while the committer
// ends, retries and moves it, sees no entry that has ended and none twice. // P0
func TestDeepReaders(t *testing.T) {
	const n = 200
	l := open(t, t.TempDir(), func(o *Options) { o.Light = true })
	l.events.limit = 1
	for i := range n {
		l.Accept(entry.Inbound{Upstream: upstream("tok", fmt.Sprint(i), `{}`)}, nil)
	}
	mustAccept(t, l, "tok", "last", `{}`)
	all := l.Events(0, 2*n)
	if len(all) != n+1 {
		t.Fatalf("%d events are pending, want %d", len(all), n+1)
	}
	var ended atomic.Uint64 // all up to this seq, but for the last, have ended
	over := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				low, before := ended.Load(), uint64(0)
				for _, ev := range l.Events(0, 2*n) {
					if ev.Seq <= low || ev.Seq <= before {
						t.Errorf("event %d came after %d, and all up to %d have ended", ev.Seq, before, low)
					}
					before = ev.Seq
				}
				if _, err := l.Body(low); low > 0 && !errors.Is(err, entry.ErrUnknown) {
					t.Errorf("body of event %d, which has ended: %v", low, err)
				}
				if b, err := l.Body(all[n].Seq); err != nil || b.Upstream.MessageID != "last" {
					t.Errorf("body of the last one: %v, %v", b.Upstream, err)
				}
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	for i, ev := range all[:n] {
		l.Lease(ev.Seq, 1)
		if i%3 == 0 {
			if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 1, Verdict: entry.Retry}); err != nil {
				t.Fatal(err)
			}
			l.Lease(ev.Seq, 2)
			if again := l.Events(ev.Seq-1, 1); len(again) != 1 || again[0].Attempts != 1 {
				t.Errorf("event %d after an attempt: %+v", ev.Seq, again)
			}
		}
		if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 1 + uint64(max(0, 1-i%3)), Verdict: entry.Done}); err != nil {
			t.Fatal(err)
		}
		ended.Store(ev.Seq)
		if i%50 == 0 {
			if err := l.squeeze(t.Context(), all[n].Seq); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(over)
	readers.Wait()
	if got := l.Events(0, 10); len(got) != 1 || got[0].Seq != all[n].Seq {
		t.Errorf("left are %v", got)
	}
	verify(t, l)
}
