package ccs

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/entry"
	"balhost/host/internal/fcm"
	"balhost/host/internal/xmpp"

	"github.com/hashicorp/go-hclog"
)

// Large upstreams reach the limit of bytes long before that of their number.
func TestFloodIsBoundedInBytes(t *testing.T) { // P10
	simulate(t, ccssim.Options{Window: 1 << 20}, nil, func(w *world) {
		w.inbox.set(func(b *inbox) { b.hold = true })
		const size, flood = 512 << 10, 50
		data := strings.Repeat("x", size)
		for i := range flood {
			id := fmt.Sprint("big-", i)
			w.srv.Send(ccssim.Upstream{From: "tokA", MessageID: id,
				Payload: fmt.Sprintf(`{"from":"tokA","message_id":%q,"data":{"x":%q}}`, id, data)})
		}
		time.Sleep(5 * time.Minute)
		if n := w.inbox.count(); n != maxHeldBytes/size {
			t.Errorf("%d submitted, want %d", n, maxHeldBytes/size)
		}
		w.inbox.release()
		w.until("all acks", func(c ccssim.Counts) bool { return c.Acked == flood })
		if c := w.srv.Counts(); c.Logins != 1 {
			t.Errorf("%d logins, want 1", c.Logins)
		}
		w.legal()
	})
}

// While the ledger has no room CCS can go on sending for ever: upstreams that are
// turned away are counted, and nothing of them is kept.
func TestFloodWhileFullKeepsNothing(t *testing.T) { // P10
	b := newBox()
	first := time.Now()
	b.admit(first, 1)
	b.decided(ack{fcm.Name{Text: "tokA"}, fcm.Name{Text: "1"}, first}, 1, entry.ErrFull)
	read := first
	grown := testing.AllocsPerRun(100_000, func() {
		read = read.Add(time.Millisecond)
		if b.admit(read, 1) {
			t.Error("admitted after one that was not stored")
		}
	})
	n, since, refused := b.unacked()
	if n != 100_002 || !since.Equal(first) || refused != entry.ErrFull {
		t.Errorf("%d un-acked since %v, %v", n, since, refused)
	}
	if grown != 0 || cap(b.read.times) > 8 {
		t.Errorf("%v allocations for each that is turned away, %d times kept", grown, cap(b.read.times))
	}
	b = newBox()
	b.deafen()
	b.admit(first, 1)
	if n, since, _ := b.unacked(); n != 1 || !since.Equal(first) {
		t.Errorf("%d un-acked since %v", n, since)
	}
}

// hearAll is a connection that reads the stanzas while nobody writes.
func hearAll(stanzas string) (c *conn, ended chan error) {
	s := New(Options{Name: "main", Inbox: newInbox(), Log: hclog.NewNullLogger()})
	c, ended = &conn{s: s, box: newBox()}, make(chan error, 1)
	go func() {
		ended <- c.stanzas(&stream{Reader: xmpp.NewReader(strings.NewReader(stanzas+"</stream:stream>"), 1<<20), w: &wire{}})
	}()
	return c, ended
}

// A peer that sends iqs and answers but reads nothing is not read any further.
func TestMailIsBounded(t *testing.T) { // P10
	gcm := `<message><gcm xmlns="google:mobile:data">%s</gcm></message>`
	long := strings.Repeat("i", 512<<10)
	const some = maxHeldBytes / (512 << 10) // long ones are held; one more has to wait
	for name, c := range map[string]struct {
		stanza  string
		n, held int
	}{
		"iqs":           {`<iq id="1" type="get"/>`, 3 * maxHeld, maxHeld},
		"long iqs":      {`<iq id="1" type="get" from="` + long + `"/>`, some + 1, some},
		"answers":       {fmt.Sprintf(gcm, `{"message_type":"ack","from":"a","message_id":"1"}`), 3 * maxHeld, maxHeld},
		"long answers":  {fmt.Sprintf(gcm, `{"message_type":"nack","from":"a","message_id":"`+long+`"}`), some + 1, some},
		"refusals":      {`<message type="error" id="1"/>`, 3 * maxHeld, maxHeld},
		"long refusals": {`<message type="error" id="` + long + `"/>`, some + 1, some},
		"acks":          {fmt.Sprintf(gcm, `{"from":"a","message_id":"1"}`), 3 * maxHeld, maxHeld},
		"long acks":     {fmt.Sprintf(gcm, `{"from":"a","message_id":"`+long+`"}`), some + 1, some},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, ended := hearAll(strings.Repeat(c.stanza, c.n))
				defer conn.box.shutdown() // lets a reader that is stuck go
				var m mail
				for heard := 0; heard < c.n; {
					synctest.Wait()
					conn.box.empty(&m)
					got := len(m.asked) + len(m.answers) + len(m.acks)
					if left := c.n - heard; got != min(c.held, left) || m.stalled != (left >= c.held) {
						t.Fatalf("after %d: %d are held, want %d; stalled %v", heard, got, min(c.held, left), m.stalled)
					}
					heard += got
				}
				if err := <-ended; err != xmpp.ErrClosed {
					t.Errorf("ended with %v", err)
				}
			})
		})
	}
}

// The id of an iq is repeated in its answer, so it is bounded.
func TestLongIQIsIgnored(t *testing.T) { // P10
	iq := func(n int) string { return `<iq type="get" id="` + strings.Repeat("i", n) + `"/>` }
	c, ended := hearAll(iq(maxID) + iq(maxID+1) + iq(1))
	<-ended
	var m mail
	c.box.empty(&m)
	if len(m.asked) != 2 || len(m.asked[0].id) != maxID || len(m.asked[1].id) != 1 {
		t.Errorf("%d iqs are to be answered", len(m.asked))
	}
	if n := c.s.Status().TooLarge; n != 1 {
		t.Errorf("%d counted, want 1", n)
	}
}

// Only what waits for an ack holds a slot of CCS's window.
func TestUnusableAnswersHoldNoSlot(t *testing.T) { // P1, P10
	for payload, want := range map[string]int64{
		`{"message_type":"ack","from":"tokA","message_id":true}`: 0,
		`{"message_type":"ack","from":"tokA"`:                    0,
		`{"message_type":"receipt","from":"tokA","data":{}}`:     1,
		`{"message_type":"novelty","from":"tokA"}`:               1,
		`{"from":"tokA"}`:                  1,
		`{"message_id":"1"}`:               1,
		`{"from":"tokA","message_id":tru}`: 1,
		`nothing`:                          1,
	} {
		c, ended := hearAll(`<message><gcm xmlns="google:mobile:data">` + payload + `</gcm></message>`)
		<-ended
		if c.holes.Load() != want {
			t.Errorf("%s: %d slots are held, want %d", payload, c.holes.Load(), want)
		}
		if st := c.s.Status(); st.Unusable+st.UnknownTypes != 1 {
			t.Errorf("%s: %d counted as unusable, %d as unknown, want one", payload, st.Unusable, st.UnknownTypes)
		}
	}
}
