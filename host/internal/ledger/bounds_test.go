package ledger

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// TestManyReads: an operation has up to 1,000 reads; they count in its weight.
func TestManyReads(t *testing.T) {
	l := open(t, t.TempDir())
	var c entry.Changes
	for i := range maxReads {
		c.Reads = append(c.Reads, entry.Read{Key: fmt.Sprint(i)})
	}
	if err := updateAs(t, l, "p", c); err != nil {
		t.Fatal(err)
	}
	if _, records := weighChanges("p", c); records != maxReads {
		t.Errorf("%d reads weigh %d records", maxReads, records)
	}
	c.Reads = append(c.Reads, entry.Read{Key: "one more"})
	wantErr(t, updateAs(t, l, "p", c), entry.ErrTooLarge)
	mustAccept(t, l, "tokA", "1", `{}`)
	ev := lease(t, l, 5)
	s := entry.Settlement{Seq: ev.Seq, Lease: 5, Verdict: entry.Done, Plugin: "p", Changes: c}
	wantErr(t, settleAs(t, l, s), entry.ErrTooLarge)
}

// TestLongNames: a message with a category, token or id beyond all use becomes
// a dead letter (P8), once (P6).
func TestLongNames(t *testing.T) {
	l := open(t, t.TempDir())
	u := func(category, from, id int) *message.Upstream {
		m := upstream(strings.Repeat("f", from), strings.Repeat("i", id), `{}`)
		m.Category = strings.Repeat("c", category)
		return m
	}
	for _, in := range []entry.Inbound{
		{Upstream: u(1025, 1, 1)}, {Upstream: u(1, 4097, 1)}, {Upstream: u(1, 1, 4097)}, {Upstream: u(1, 1, 4097)},
		{Receipt: &message.Receipt{Session: "main", Category: strings.Repeat("c", 1025)}, CCSMessageID: "dr2:1"},
		{Upstream: u(1024, 4096, 4096)},
	} {
		if err := await(t, func(done func(error)) { l.Accept(in, done) }); err != nil {
			t.Fatal(err)
		}
	}
	letters, err := l.Dead("", 10)
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, d := range letters {
		reasons = append(reasons, d.Reason)
	}
	want := []string{
		"category is longer than 1024 bytes", "token is longer than 4096 bytes", "message id is longer than 4096 bytes",
		"category is longer than 1024 bytes",
	}
	if !slices.Equal(reasons, want) {
		t.Errorf("dead letters: %q", reasons)
	}
	if n := len(l.Events(0, 10)); n != 1 {
		t.Errorf("%d events are pending, should be the one within the bounds", n)
	}
	verify(t, l)
}

// TestEventMemory: of a pending event's id memory holds what its summary shows, and not the message around it.
func TestEventMemory(t *testing.T) {
	big := strings.Repeat("i", 480_000)
	for _, body := range []any{
		&message.Upstream{MessageID: big}, &message.Outcome{MessageID: big[:10]}, &inboundReceipt{Receipt: message.Receipt{OriginalMessageID: big}},
	} {
		ev := newEvent(1, (&envelope{body: body}).heading())
		if n := len(ev.messageID); n == 0 || n > maxName {
			t.Errorf("%T: memory holds %d bytes of the id", body, n)
		}
		if unsafe.StringData(ev.messageID) == unsafe.StringData(big) {
			t.Errorf("%T: memory holds on to the message", body)
		}
	}
}

// TestUpdatesDoNotDelay: what a plugin queues without waiting delays the acks
// of others by a batch or two, is not starved by them, and keeps its order.
func TestUpdatesDoNotDelay(t *testing.T) {
	for _, size := range []int{10, 100_000, 1_000_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			const updates, accepts = 20, 6000
			value := json.RawMessage(`"` + strings.Repeat("v", size) + `"`)
			l := open(t, t.TempDir())
			reached, release := hold(l)
			order := make(chan int, updates+accepts+1) // updates are negative
			put := func(n int, submit func(done func(error))) {
				submit(func(err error) {
					if err != nil {
						t.Error(err)
					}
					order <- n
				})
			}
			update := func(n int) {
				put(-n, func(done func(error)) {
					l.Update("p", entry.Changes{Writes: []entry.Write{{Key: fmt.Sprint(n), Value: value}}}, done)
				})
			}
			update(1)
			<-reached
			for n := range updates - 1 {
				update(n + 2)
			}
			for n := range accepts {
				put(n+1, func(done func(error)) {
					l.Accept(entry.Inbound{Upstream: upstream("tokA", fmt.Sprint(n), `{}`)}, done)
				})
			}
			release()
			var got []int
			for range updates + accepts {
				got = append(got, <-order)
			}
			if at := slices.Index(got, 1); at > 1 {
				t.Errorf("%d updates were committed before the first accept", at)
			}
			accepted, updated := 0, 0
			for _, n := range got {
				if n > 0 {
					accepted++
				} else {
					updated++
				}
				if n != accepted && n != -updated {
					t.Fatalf("%d is called back as the %dth accept or %dth update", n, accepted, updated)
				}
			}
			if last := slices.Index(got, accepts); slices.Index(got, -2) > last {
				t.Error("updates wait until all accepts are done")
			}
		})
	}
}

// TestEndsDoNotWait: an end that comes behind thousands of messages is in the next batch, as
// large as it may be; and of many large ones that come at once, none keeps messages out.
func TestEndsDoNotWait(t *testing.T) {
	for _, size := range []int{10, 400_000, 1_000_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			const ends, accepts = 20, 6000
			value := json.RawMessage(`"` + strings.Repeat("v", size) + `"`)
			l := open(t, t.TempDir())
			for n := range ends {
				mustAccept(t, l, "tokA", fmt.Sprint("before-", n), `{}`)
			}
			events := l.Events(0, ends)
			reached, release := hold(l)
			order := make(chan int, ends+accepts) // ends are negative
			accept := func(n int) {
				l.Accept(entry.Inbound{Upstream: upstream("tokA", fmt.Sprint(n), `{}`)}, func(err error) {
					if err != nil {
						t.Error(err)
					}
					order <- n
				})
			}
			accept(1)
			<-reached
			for n := range accepts - 1 {
				accept(n + 2)
			}
			for n, ev := range events {
				l.Settle(entry.Settlement{Seq: ev.Seq, Verdict: entry.Done, Plugin: "p", Changes: entry.Changes{
					Writes: []entry.Write{{Key: fmt.Sprint(n), Value: value}, {Key: fmt.Sprint(n, "b"), Value: value}}, // two: more than a batch has
				}}, func(err error) {
					if err != nil {
						t.Error(err)
					}
					order <- -n - 1
				})
			}
			release()
			var got []int
			for range ends + accepts {
				got = append(got, <-order)
			}
			if at := slices.Index(got, -1); at > 1 {
				t.Errorf("an end waited behind %d messages", at)
			}
			if at := slices.Index(got, 2); (at-1)*2*size > 4*batchBytes {
				t.Errorf("%d ends of %d bytes were committed before the second message", at-1, 2*size)
			}
			if last := slices.Index(got, accepts); last < slices.Index(got, -4) {
				t.Error("the fourth end waited for all messages")
			}
		})
	}
}

// TestCut: what no commit can hold is a dead letter that is cut, once, and done: CCS would send it for ever. // P1, P6, P10
func TestCut(t *testing.T) {
	l := open(t, t.TempDir())
	long := strings.Repeat("x", 900<<10)
	giant := strings.Repeat("y", 1<<20)
	whole := func(session, from, category, id, data string) *message.Upstream {
		return &message.Upstream{Session: session, From: from, Category: category, MessageID: id, Data: json.RawMessage(data),
			Raw: json.RawMessage(`{"category":"` + category + `","data":` + data + `,"message_id":"` + id + `","from":"` + from + `"}`)}
	}
	for name, in := range map[string]entry.Inbound{
		"category":   {Upstream: whole("1", "tokA", long, "1", `{}`)},
		"from":       {Upstream: whole("1", long, "c", "2", `{}`)},
		"id":         {Upstream: whole("1", "tokA", "c", long, `{}`)},
		"all":        {Upstream: whole("1", "tokA"+long, long, long, `{}`)},
		"data":       {Upstream: whole("1", "tokA", "c", "3", `"`+giant+`"`)},
		"unusable":   {Upstream: &message.Upstream{Session: "1", From: "tokA", MessageID: "4", Raw: json.RawMessage(giant)}, Unusable: "no JSON"},
		"receipt":    {CCSMessageID: "dr2:1", Receipt: &message.Receipt{Session: "1", Status: giant, OriginalMessageID: "d", Device: "tokA"}},
		"receipt id": {CCSMessageID: "dr2:" + giant, Receipt: &message.Receipt{Session: "1", OriginalMessageID: giant, Device: giant, Category: giant}},
	} {
		t.Run(name, func(t *testing.T) {
			died := l.Counts().Dead
			again := in
			if in.Upstream != nil {
				copied := *in.Upstream
				again.Upstream = &copied
			}
			for _, in := range []entry.Inbound{in, again} {
				done := make(chan error, 1)
				l.Accept(in, func(err error) { done <- err })
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			if n := l.Counts().Dead - died; n != 1 {
				t.Fatalf("%d dead letters", n)
			}
		})
	}
	letters, err := l.Dead("", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range letters {
		if !strings.Contains(d.Reason, "it is cut") {
			t.Errorf("reason %q", d.Reason)
		}
		if len(d.From) > maxID || len(d.Category) > maxCategory || len(d.MessageID) > maxID {
			t.Errorf("names of %d, %d and %d bytes", len(d.From), len(d.Category), len(d.MessageID))
		}
		full, err := l.DeadLetter(d.ID)
		if raw := string(full.Raw) + full.RawText; err != nil || d.Kind == "upstream" && (len(raw) > maxBody || len(raw) < 2*entry.Kept) {
			t.Errorf("%d bytes are kept, %v", len(raw), err)
		}
	}
	verify(t, l)
}
