package ccs

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/sdk/message"
)

// most is the largest number of downstreams that were unanswered on one connection.
func most(srv *ccssim.Server) (n int) {
	for _, c := range srv.Report().Conns {
		n = max(n, c.MaxUnanswered)
	}
	return n
}

// The simulator counts downstreams past the limit. Here answers are late and come in
// any order, and connections are lost on the way.
func TestNeverMoreThan100Unanswered(t *testing.T) { // P3
	const all = 2000
	o := ccssim.Options{AckDelay: ccssim.Range{Min: 5 * time.Millisecond, Max: 80 * time.Millisecond}}
	simulate(t, o, nil, func(w *world) {
		w.outbox.send(1, all, "tokA")
		for i := range 5 {
			w.until("some acks", func(c ccssim.Counts) bool { return c.AckedDown > uint64(i)*300 })
			w.srv.Cut()
		}
		w.until("all acks", func(c ccssim.Counts) bool { return c.AckedDown-c.DuplicateDown >= all })
		time.Sleep(time.Second)
		w.outbox.look(func(b *outbox) {
			if got := unique(b.acked); got != all {
				t.Errorf("%d acked, want %d", got, all)
			}
		})
		if n := most(w.srv); n != 100 {
			t.Errorf("at most %d unanswered at a time, want 100", n)
		}
		w.legal()
	})
}

func unique(seqs []uint64) int {
	return len(slices.Compact(slices.Sorted(slices.Values(seqs))))
}

func TestWindowIsConfigurableButNeverOver100(t *testing.T) { // P3
	for window, want := range map[int]int{7: 7, 1000: 100} {
		o := ccssim.Options{AckDelay: ccssim.Range{Min: 20 * time.Millisecond}}
		simulate(t, o, func(o *Options) { o.Window = window }, func(w *world) {
			w.outbox.send(1, 300, "tokA")
			w.until("all acks", func(c ccssim.Counts) bool { return c.AckedDown == 300 })
			if n := most(w.srv); n != want {
				t.Errorf("window %d: at most %d unanswered, want %d", window, n, want)
			}
			w.legal()
		})
	}
}

// What a dead connection left goes again with the same ids, oldest first,
// before anything newer.
func TestUnansweredGoAgainAfterReconnect(t *testing.T) { // P3
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.srv.Nack(ccssim.Nack{Count: -1}) // never answers
		w.outbox.send(1, 250, "tokA")
		w.until("a full window", func(c ccssim.Counts) bool { return c.Downstreams == 100 })
		time.Sleep(10 * time.Second)
		w.srv.ClearNacks()
		w.srv.Cut()
		w.until("all acks", func(c ccssim.Counts) bool { return c.AckedDown == 250 })
		w.outbox.look(func(b *outbox) {
			for i, seq := range b.acked {
				if seq != uint64(i+1) {
					t.Fatalf("acked in the order %v", b.acked)
				}
			}
		})
		if c := w.srv.Counts(); c.Downstreams != 350 {
			t.Errorf("%d downstreams written, want 100 twice and 150 once", c.Downstreams)
		}
		w.legal()
	})
}

// Acks flow while the window is full: they don't count against it.
func TestAcksPassAFullWindow(t *testing.T) { // ccs-protocol.md §5 rule 3
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.srv.Nack(ccssim.Nack{Count: -1})
		w.outbox.send(1, 150, "tokA")
		w.until("a full window", func(c ccssim.Counts) bool { return c.Downstreams == 100 })
		for range 300 {
			w.srv.Upstream("tokA", "app", nil)
		}
		w.until("acks", func(c ccssim.Counts) bool { return c.Acked == 300 })
		w.legal()
	})
}

func TestAnswersReachTheOutbox(t *testing.T) { // P4
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.srv.SetCanonical("old", "new")
		w.srv.Nack(ccssim.Nack{Count: -1, Code: "DEVICE_UNREGISTERED", Token: "gone"})
		w.outbox.send(1, 1, "old")
		w.outbox.send(2, 1, "gone")
		w.outbox.send(3, 1, "fine")
		w.until("answers", func(c ccssim.Counts) bool { return c.AckedDown == 2 && c.Nacked == 1 })
		w.outbox.look(func(b *outbox) {
			if b.tokens[1] != "new" || b.nacked[2] != "DEVICE_UNREGISTERED" || !slices.Contains(b.acked, 3) || len(b.taken) != 0 {
				t.Errorf("tokens %v, nacked %v, acked %v, unanswered %v", b.tokens, b.nacked, b.acked, b.taken)
			}
		})
		w.legal()
	})
}

// A stanza error frees the slot of the message whose id it echoes. One about anything
// else, such as a rejected ack, is counted.
func TestStanzaErrorFreesItsSlot(t *testing.T) { // P3; ccs-protocol.md §4.2
	simulate(t, ccssim.Options{}, func(o *Options) { o.Window = 1 }, func(w *world) {
		w.srv.Nack(ccssim.Nack{Count: 1})
		w.outbox.send(1, 2, "tokA")
		w.until("the first", func(c ccssim.Counts) bool { return c.Downstreams == 1 })
		w.srv.Inject(`<message id="nobody" type="error"><error code="406" type="modify"><not-acceptable xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></message>`)
		w.srv.Inject(`<message id="d-1" type="error"><gcm xmlns="google:mobile:data">{}</gcm><error code="400" type="modify"><bad-request xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></message>`)
		w.until("the second", func(c ccssim.Counts) bool { return c.AckedDown == 1 })
		w.outbox.look(func(b *outbox) {
			if b.refused[1] != flow.Fail || !slices.Equal(b.acked, []uint64{2}) {
				t.Errorf("refused %v, acked %v", b.refused, b.acked)
			}
		})
		if st := w.s.Status(); st.StanzaErrors != 1 {
			t.Errorf("%d stanza errors for nobody, want 1", st.StanzaErrors)
		}
	})
}

// One without an id frees the slot of the downstream that it echoes. An ack that
// comes back has an id of a device's choosing, and frees nothing.
func TestStanzaErrorWithoutIDFreesItsSlot(t *testing.T) { // P3; ccs-protocol.md §4.2
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.srv.Nack(ccssim.Nack{Count: 2})
		w.outbox.send(1, 2, "tokA")
		w.until("both", func(c ccssim.Counts) bool { return c.Downstreams == 2 })
		for _, payload := range []string{
			`{"to":"tokA","message_id":"d-1","message_type":"ack"}`, `{"to":"tokA","message_id":"","message_type":"ack"}`,
			`{"to":"tokA","data":{"message_id":"d-1"},"message_id":"d-2"}`,
		} {
			w.srv.Inject(`<message type="error"><gcm xmlns="google:mobile:data">` + payload + `</gcm><error code="400" type="modify"><bad-request xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></message>`)
		}
		synctest.Wait()
		w.outbox.look(func(b *outbox) {
			if len(b.refused) != 1 || b.refused[2] != flow.Fail || len(b.taken) != 1 {
				t.Errorf("refused %v, unanswered %v", b.refused, b.taken)
			}
		})
		if st := w.s.Status(); st.StanzaErrors != 2 || len(st.Connections) != 1 {
			t.Errorf("%d stanza errors for nobody, want 2; %+v", st.StanzaErrors, st.Connections)
		}
	})
}

// What XML can't carry never reaches the stream.
func TestWhatCannotBeWrittenIsRefused(t *testing.T) { // P10
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.outbox.look(func(b *outbox) {
			b.ready = append(b.ready, entry.Outgoing{Seq: 1, Message: message.Checked{
				To: message.Token("tokA"), MessageID: "bad\x01id"}})
		})
		w.outbox.send(2, 1, "tokA")
		w.until("the good one", func(c ccssim.Counts) bool { return c.AckedDown == 1 })
		w.outbox.look(func(b *outbox) {
			if b.refused[1] != flow.Fail {
				t.Errorf("refused %v", b.refused)
			}
		})
		if c := w.srv.Counts(); c.StreamErrors > 0 {
			t.Error("the stream broke")
		}
	})
}

// A downstream that was accepted for another transport, before the session's block was
// changed, ends with a reason, and its target is not gone.
func TestWhatCCSCannotCarryIsRefused(t *testing.T) { // P4
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.outbox.look(func(b *outbox) {
			b.ready = append(b.ready,
				entry.Outgoing{Seq: 1, Message: message.Checked{To: message.FID("cX"), MessageID: "d-1"}},
				entry.Outgoing{Seq: 2, Message: message.Checked{To: message.Token("tokA"), MessageID: "d-2", Options: message.Options{APNS: json.RawMessage(`{}`)}}})
		})
		w.outbox.send(3, 1, "tokA")
		w.until("the good one", func(c ccssim.Counts) bool { return c.AckedDown == 1 })
		if n := w.srv.Counts().Downstreams; n != 1 {
			t.Errorf("%d downstreams came, want 1", n)
		}
		w.outbox.look(func(b *outbox) {
			for seq, why := range map[uint64]string{1: "to.fid is set", 2: "options.apns is set"} {
				if a := b.answers[seq]; a.Verdict != flow.Fail || a.Code != CodeUnsupported || a.Gone || !strings.HasPrefix(a.Description, why) {
					t.Errorf("%d was answered %+v", seq, a)
				}
			}
		})
	})
}

func TestSecondAnswerIsHarmless(t *testing.T) {
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.outbox.send(1, 1, "tokA")
		w.until("ack", func(c ccssim.Counts) bool { return c.AckedDown == 1 })
		for range 3 {
			w.srv.Inject(`<message><gcm xmlns="google:mobile:data">{"message_type":"ack","from":"tokA","message_id":"d-1"}</gcm></message>`)
		}
		synctest.Wait()
		w.outbox.look(func(b *outbox) {
			if len(b.acked) != 1 {
				t.Errorf("acked %v", b.acked)
			}
		})
		if st := w.s.Status(); st.LateAnswers != 3 {
			t.Errorf("%d late answers, want 3", st.LateAnswers)
		}
	})
}

// A connection that leaves a downstream unanswered is replaced as if it drained. Only
// after it is closed the rest goes over the new one.
func TestUnansweredPastTheTimeoutReplacesTheConnection(t *testing.T) { // P3
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.srv.Nack(ccssim.Nack{Count: 5})
		w.outbox.send(1, 5, "tokA")
		w.until("replacement", func(c ccssim.Counts) bool { return c.Logins == 2 })
		if c := w.srv.Counts(); c.Downstreams != 5 {
			t.Errorf("%d downstreams before the old connection is closed, want 5", c.Downstreams)
		}
		w.outbox.send(6, 1, "tokB")
		w.until("new ones on the new one", func(c ccssim.Counts) bool { return c.AckedDown == 1 })
		replaced := time.Now()
		time.Sleep(8 * time.Second) // within the grace an answer still counts
		w.srv.Inject(`<message><gcm xmlns="google:mobile:data">{"message_type":"ack","from":"tokA","message_id":"d-3"}</gcm></message>`)
		time.Sleep(time.Second)
		if c := w.srv.Counts(); c.Downstreams != 6 {
			t.Errorf("%d downstreams within the grace, want 6", c.Downstreams)
		}
		w.until("the rest", func(c ccssim.Counts) bool { return c.AckedDown == 5 })
		if d := time.Since(replaced); d > 12*time.Second { // the grace, and the wait for CCS's close
			t.Errorf("the old connection was closed after %v", d)
		}
		w.outbox.look(func(b *outbox) {
			if !slices.Equal(b.returned, []uint64{1, 2, 4, 5}) || !slices.Contains(b.acked, 3) {
				t.Errorf("returned %v, acked %v", b.returned, b.acked)
			}
		})
		if !strings.Contains(w.log.String(), "downstreams are not answered") {
			t.Error("nothing says why")
		}
		w.legal()
	})
}

// The outbox hears why a connection has ended, with what was in flight.
func TestWhatWasInFlightGoesBackWithTheReason(t *testing.T) { // P10
	for condition, fault := range map[string]flow.Fault{"invalid-xml": flow.Bytes, "policy-violation": flow.Policy, "system-shutdown": flow.Server} {
		simulate(t, ccssim.Options{}, nil, func(w *world) {
			w.srv.Nack(ccssim.Nack{Count: 3})
			w.outbox.send(1, 3, "tokA")
			w.until("three", func(c ccssim.Counts) bool { return c.Downstreams == 3 })
			w.srv.StreamError(condition)
			w.until("three again", func(c ccssim.Counts) bool { return c.AckedDown == 3 })
			w.outbox.look(func(b *outbox) {
				if len(b.returned) != 3 || len(b.ends) != 1 || b.ends[0].Fault != fault || !strings.Contains(b.ends[0].Why, condition) {
					t.Errorf("%s: returned %v over %+v", condition, b.returned, b.ends)
				}
			})
			w.legal()
		})
	}
}
