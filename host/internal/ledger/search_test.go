package ledger

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// TestEndedByPages: pages of what has ended, of whatever size, have all of it once, the
// newest first, and a filter changes nothing about that. Commits may come meanwhile.
func TestEndedByPages(t *testing.T) {
	l := open(t, t.TempDir())
	const devices, rounds = 3, 40
	for i := range rounds {
		mustAccept(t, l, fmt.Sprintf("token-of-device-%d", i%devices), fmt.Sprint(i), `{}`)
		ev := lease(t, l, 1)
		s := entry.Settlement{Seq: ev.Seq, Lease: 1, Verdict: entry.Done, Plugin: "p", Changes: entry.Changes{Sends: []entry.Send{send(fmt.Sprint("d-", i), `{}`)}}}
		if err := settleAs(t, l, s); err != nil {
			t.Fatal(err)
		}
		d := l.Downstreams(0, 1)[0]
		if err := await(t, func(done func(error)) { l.Finish(entry.End{Seq: d.Seq, Status: message.Acked, Attempts: 1}, done) }); err != nil {
			t.Fatal(err)
		}
		ev = lease(t, l, 1)
		if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 1, Verdict: entry.Done, Plugin: "p"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		what   string
		search entry.Search
		want   int
	}{
		{"all", entry.Search{}, 3 * rounds},
		{"upstreams", entry.Search{Kinds: []entry.Kind{entry.Upstream}}, rounds},
		{"a device", entry.Search{Kinds: []entry.Kind{entry.Upstream}, Devices: []uint64{entry.DeviceHash("main", "token-of-device-1")}}, 13},
		{"downstreams and outcomes of a target", entry.Search{Devices: []uint64{entry.DeviceHash("main", "tokA")}}, 2 * rounds},
		{"an id", entry.Search{ID: "7"}, 1},
		{"nothing", entry.Search{Plugin: "q"}, 0},
	} {
		for _, size := range []int{1, 7, 1000} {
			var all []entry.Trace
			for at, more := (entry.Place{}), true; more; {
				c.search.Most = size
				found, err := l.Ended(c.search, at)
				if err != nil || len(found.Traces) > size {
					t.Fatalf("%s: %d of %d, %v", c.what, len(found.Traces), size, err)
				}
				all, at, more = append(all, found.Traces...), found.Next, found.More
			}
			if len(all) != c.want {
				t.Errorf("%s by %d: %d, want %d", c.what, size, len(all), c.want)
			}
			seen := map[string]bool{}
			for i, tr := range all {
				if seen[fmt.Sprint(tr.Kind, tr.ID)] || i > 0 && tr.Ended.After(all[i-1].Ended) {
					t.Errorf("%s by %d: %+v comes twice, or is newer than the one before", c.what, size, tr)
				}
				seen[fmt.Sprint(tr.Kind, tr.ID)] = true
			}
		}
	}
}

// TestLookups: each pending event is found by its id, however deep it is in the backlog, and
// each downstream by its seq. Nothing of it stays in memory.
func TestLookups(t *testing.T) {
	l := open(t, t.TempDir())
	l.events.limit = 1
	for i := range 300 {
		mustAccept(t, l, "tokA", fmt.Sprint(i), `{}`)
	}
	var ids []string
	for seq, more := uint64(0), true; more; {
		found, err := l.Pending(false, entry.Search{Most: 50}, seq)
		if err != nil {
			t.Fatal(err)
		}
		for _, tr := range found.Traces {
			ids = append(ids, tr.ID)
		}
		seq, more = found.Seq, found.More
	}
	slices.Reverse(ids)
	if len(ids) != 300 || !slices.IsSorted(ids) {
		t.Fatalf("%d events, newest first", len(ids))
	}
	for _, id := range ids {
		if tr, err := l.PendingEvent(id); err != nil || tr.ID != id || tr.State != entry.StateWaiting || tr.Device != "tokA" {
			t.Fatalf("%s: %+v, %v", id, tr, err)
		}
	}
	_, err := l.PendingEvent("01HF7YAT3B0123456789ABCDEF")
	wantErr(t, err, entry.ErrUnknown)
}

// TestHistory: of the attempts in vain the first one and the last seven are kept, with
// their errors, until the event has ended, and a dead letter has them too.
func TestHistory(t *testing.T) {
	l := open(t, t.TempDir())
	mustAccept(t, l, "tokA", "1", `{}`)
	began := time.Now()
	for i := range 20 {
		ev := lease(t, l, 1)
		s := entry.Settlement{Seq: ev.Seq, Lease: 1, Verdict: entry.Retry, Plugin: "p", Reason: fmt.Sprint("no ", i+1), Attempt: entry.Attempt{Began: began, Took: time.Millisecond, Version: "1"}}
		if i == 19 {
			s.Verdict = entry.Dead
		}
		if err := settleAs(t, l, s); err != nil {
			t.Fatal(err)
		}
	}
	found, err := l.DeadTraces(entry.Search{Most: 1}, "")
	if err != nil || len(found.Traces) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	var numbers []int
	for _, a := range found.Traces[0].Tries {
		numbers = append(numbers, a.Number)
		if a.Error != fmt.Sprint("no ", a.Number) || a.Began.Sub(began).Abs() > time.Second || a.Version != "1" {
			t.Errorf("%+v", a)
		}
	}
	if want := []int{1, 14, 15, 16, 17, 18, 19, 20}; !slices.Equal(numbers, want) {
		t.Errorf("attempts %v, want %v", numbers, want)
	}
}
