package ccs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/entry"
)

func TestAckWaitsForCommit(t *testing.T) { // P1
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.inbox.set(func(b *inbox) { b.hold = true })
		id := w.srv.Upstream("tokA", "com.example.courier", map[string]string{"act": "sos"})
		synctest.Wait()
		if n := w.inbox.count(); n != 1 {
			t.Fatalf("%d upstreams submitted, want 1", n)
		}
		time.Sleep(10 * time.Second)
		if c := w.srv.Counts(); c.Acked != 0 {
			t.Fatal("P1: acked before the commit")
		}
		if st := w.s.Status().Connections[0]; st.Unacked != 1 || time.Since(st.UnackedSince) < 10*time.Second {
			t.Errorf("status says %d unacked since %v", st.Unacked, st.UnackedSince)
		}
		w.inbox.release()
		w.until("ack", func(c ccssim.Counts) bool { return c.Acked == 1 })
		u := w.inbox.seen[0].Upstream
		if u.From != "tokA" || u.MessageID != id || u.Category != "com.example.courier" || u.Session != w.srv.SenderID() || string(u.Data) != `{"act":"sos"}` {
			t.Errorf("stored %+v", u)
		}
		st := w.s.Status()
		if st.AckLatency.Max < 10*time.Second || !strings.Contains(w.log.String(), "acks are slow") {
			t.Errorf("latency %+v, or no warning past AckWarn", st.AckLatency)
		}
		if st.Connections[0].Unacked != 0 || st.UpstreamsAcked != 1 {
			t.Errorf("after the ack: %+v", st)
		}
		w.legal()
	})
}

// A commit that returns when its connection is gone acks nothing: CCS sends the
// upstream again, and that one is acked where it came.
func TestAckStaysOnItsConnection(t *testing.T) { // P1
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.inbox.set(func(b *inbox) { b.hold = true })
		for range 20 {
			w.srv.Upstream("tokA", "app", nil)
		}
		synctest.Wait()
		w.srv.Cut()
		w.until("second login", func(c ccssim.Counts) bool { return c.Logins == 2 && c.Redelivered == 20 })
		w.inbox.release()
		w.until("acks", func(c ccssim.Counts) bool { return c.Acked == 20 })
		w.legal()
	})
}

func TestUpstreamsAreSubmittedInOrder(t *testing.T) { // P1
	for _, split := range []int{0, 3} {
		simulate(t, ccssim.Options{SplitBytes: split, Devices: ccssim.Devices{Count: 1, Limit: 500, Size: 120}}, nil, func(w *world) {
			w.until("all acks", func(c ccssim.Counts) bool { return c.Acked == 500 })
			for i, in := range w.inbox.seen {
				if want := fmt.Sprintf(`"n":"%d"`, i+1); !strings.Contains(string(in.Upstream.Data), want) {
					t.Fatalf("upstream %d is %s", i+1, in.Upstream.Data)
				}
			}
			w.legal()
		})
	}
}

func TestReceiptIsStoredAndAckedWithItsFullID(t *testing.T) { // ccs-protocol.md §6
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.srv.Send(ccssim.Upstream{From: "gcm.googleapis.com", MessageID: "dr2:d-000017",
			Payload: `{"message_type":"receipt","from":"gcm.googleapis.com","message_id":"dr2:d-000017","category":"app","time_to_live":0,` +
				`"data":{"message_status":"MESSAGE_SENT_TO_DEVICE","original_message_id":"d-000017","device_registration_id":"tokA","message_sent_timestamp":"1711000000000"}}`})
		w.until("ack", func(c ccssim.Counts) bool { return c.Acked == 1 })
		in := w.inbox.seen[0]
		if in.Upstream != nil || in.CCSMessageID != "dr2:d-000017" || in.Receipt.OriginalMessageID != "d-000017" || in.Receipt.Device != "tokA" {
			t.Errorf("stored %+v", in)
		}
		w.legal()
	})
}

// What can't be understood is kept and acked when it says whom to ack; else it
// is counted, and said once.
func TestUnusablePayloads(t *testing.T) { // P1, P10
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.srv.Send(ccssim.Upstream{From: "tokA", MessageID: "7", Payload: `{"from":"tokA","message_id":"7","data":"no object"}`})
		w.until("ack of the dead letter", func(c ccssim.Counts) bool { return c.Acked == 1 })
		in := w.inbox.seen[0]
		if in.Unusable == "" || in.Upstream.From != "tokA" || in.Upstream.MessageID != "7" || !strings.Contains(string(in.Upstream.Raw), "no object") {
			t.Errorf("stored %+v", in)
		}
		for i := range 50 {
			w.srv.Inject(fmt.Sprintf(`<message><gcm xmlns="google:mobile:data">nothing %d</gcm></message>`, i))
		}
		w.srv.Upstream("tokB", "app", nil)
		w.until("ack of the next", func(c ccssim.Counts) bool { return c.Acked == 2 })
		st := w.s.Status()
		if st.Unusable != 51 || st.Connections[0].Unackable != 50 || len(st.Recent) != remembered {
			t.Errorf("unusable %d, unackable %d, remembered %d", st.Unusable, st.Connections[0].Unackable, len(st.Recent))
		}
		if n := strings.Count(w.log.String(), "unusable payload"); n != 1 {
			t.Errorf("said %d times within 30 s", n)
		}
		w.legal()
	})
}

// From the first that is not stored on nothing is stored or acked on that connection,
// though the ledger has room for later ones. So none overtakes it: CCS sends all of them
// anew, and they are stored in order.
func TestNothingIsAckedPastTheFirstNotStored(t *testing.T) { // P1, P10
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.inbox.set(func(b *inbox) {
			n := 0
			b.refuse = func(entry.Inbound) error {
				if n++; n == 3 {
					return entry.ErrFull
				}
				return nil
			}
			b.hold = true
		})
		var ids []string
		for range 5 {
			ids = append(ids, w.srv.Upstream("tokA", "app", nil))
		}
		synctest.Wait()
		w.inbox.release()
		w.until("two acks", func(c ccssim.Counts) bool { return c.Acked == 2 })
		ids = append(ids, w.srv.Upstream("tokA", "app", nil)) // not even submitted, lest it overtakes
		w.outbox.send(1, 3, "tokA")                           // reading goes on: answers count
		time.Sleep(time.Minute)
		if c := w.srv.Counts(); c.Acked != 2 || c.AckedDown != 3 || c.Logins != 1 {
			t.Fatalf("while full: %+v", c)
		}
		if st := w.s.Status().Connections[0]; !errors.Is(st.NotStored, entry.ErrFull) || st.Unacked != 4 {
			t.Errorf("status %+v", st)
		}
		if n := w.inbox.count(); n != 5 {
			t.Errorf("%d submitted, want 5", n)
		}
		w.inbox.set(func(b *inbox) { b.refuse = nil; close(b.room) })
		w.until("the rest", func(c ccssim.Counts) bool { return c.Acked == 6 && c.Logins == 2 })
		if got := w.inbox.stored; !slices.Equal(got, ids) {
			t.Errorf("stored %q, want %q", got, ids)
		}
		w.legal()
	})
}

func TestTooLargeForTheLedgerDoesNotStopTheOthers(t *testing.T) { // P10
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.inbox.set(func(b *inbox) {
			b.refuse = func(in entry.Inbound) error {
				if in.Upstream.From == "big" {
					return entry.ErrTooLarge
				}
				return nil
			}
		})
		w.srv.Upstream("big", "app", nil)
		w.srv.Upstream("small", "app", nil)
		w.until("ack", func(c ccssim.Counts) bool { return c.Acked == 1 })
		if st := w.s.Status(); st.TooLarge != 1 || st.Connections[0].Unackable != 1 {
			t.Errorf("status %+v", st)
		}
	})
}

// A peer that ignores CCS's own limit is not read any further than the ledger
// keeps up, and is not taken for dead meanwhile.
func TestFloodIsBounded(t *testing.T) { // P10
	simulate(t, ccssim.Options{Window: 1 << 20}, nil, func(w *world) {
		w.inbox.set(func(b *inbox) { b.hold = true })
		const flood = maxHeld + 1000
		if err := w.srv.StartDevices(ccssim.Devices{Count: 10, Limit: flood}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if n := w.inbox.count(); n != maxHeld {
			t.Errorf("%d submitted, want %d", n, maxHeld)
		}
		w.inbox.release()
		w.until("all acks", func(c ccssim.Counts) bool { return c.Acked == flood })
		if c := w.srv.Counts(); c.Logins != 1 {
			t.Errorf("%d logins, want 1", c.Logins)
		}
		w.legal()
	})
}

func TestSessionEndsWithTheLedger(t *testing.T) { // P10
	synctest.Test(t, func(t *testing.T) {
		w := start(t, ccssim.Options{}, nil)
		w.until("login", func(c ccssim.Counts) bool { return c.Logins == 1 })
		w.inbox.set(func(b *inbox) { b.err = entry.ErrClosed })
		w.srv.Upstream("tokA", "app", nil)
		if err := <-w.ended; !errors.Is(err, entry.ErrClosed) {
			t.Errorf("Run: %v, want %v", err, entry.ErrClosed)
		}
		if c := w.srv.Counts(); c.Acked != 0 {
			t.Error("P1: acked what was not stored")
		}
		w.stop()
		w.srv.Close()
	})
}
