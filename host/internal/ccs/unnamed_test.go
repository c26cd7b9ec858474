package ccs

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/flow"
)

const (
	nackWithoutID   = `<message><gcm xmlns="google:mobile:data">{"message_type":"nack","error":"DEVICE_UNREGISTERED","error_description":"gone"}</gcm></message>`
	nackFromB       = `<message><gcm xmlns="google:mobile:data">{"message_type":"nack","from":"tokB","message_id":null,"error":"DEVICE_UNREGISTERED"}</gcm></message>`
	nackNumber      = `<message><gcm xmlns="google:mobile:data">{"message_type":"nack","message_id":"","error":"INVALID_JSON"}</gcm></message>`
	errorWithoutID  = `<message type="error"><error code="400" type="modify"><bad-request xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></message>`
	errorOfAnAck    = `<message type="error"><gcm xmlns="google:mobile:data">{"to":"tokA","message_id":"d-1","message_type":"ack"}</gcm><error code="406" type="modify"><not-acceptable xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></message>`
	errorWithTarget = `<message type="error"><gcm xmlns="google:mobile:data">{"to":"tokB"}</gcm><error code="400" type="modify"><bad-request xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></message>`
)

func ackOf(n int) string {
	return fmt.Sprintf(`<message><gcm xmlns="google:mobile:data">{"message_type":"ack","from":"tokA","message_id":"d-%d"}</gcm></message>`, n)
}

// A refusal that does not say of which downstream goes to the one that it can
// be of alone: the only one in flight, the only one to its target, the only one
// that is left when the others have their answers, or all where all are refused.
func TestRefusalWithoutAnID(t *testing.T) { // P4
	for name, c := range map[string]struct {
		tokens  string
		inject  []string
		nacked  map[uint64]string
		refused map[uint64]flow.Verdict
		unnamed bool // is it said that it can't be told
	}{
		"one in flight":                     {"A", []string{nackWithoutID}, map[uint64]string{1: "DEVICE_UNREGISTERED"}, nil, false},
		"with an empty id":                  {"A", []string{nackNumber}, map[uint64]string{1: "INVALID_JSON"}, nil, false},
		"a stanza error":                    {"A", []string{errorWithoutID}, nil, map[uint64]flow.Verdict{1: flow.Fail}, false},
		"one to its target":                 {"ABA", []string{nackFromB}, map[uint64]string{2: "DEVICE_UNREGISTERED"}, nil, false},
		"a stanza error with its target":    {"ABA", []string{errorWithTarget}, nil, map[uint64]flow.Verdict{2: flow.Fail}, false},
		"of three":                          {"AAA", []string{nackWithoutID}, nil, nil, true},
		"the one that is left":              {"AAA", []string{nackWithoutID, ackOf(1), ackOf(3)}, map[uint64]string{2: "DEVICE_UNREGISTERED"}, nil, true},
		"all":                               {"AAA", []string{nackWithoutID, nackWithoutID, nackWithoutID}, map[uint64]string{1: "DEVICE_UNREGISTERED", 2: "DEVICE_UNREGISTERED", 3: "DEVICE_UNREGISTERED"}, nil, true},
		"all that are left":                 {"AAA", []string{nackWithoutID, nackWithoutID, ackOf(3)}, map[uint64]string{1: "DEVICE_UNREGISTERED", 2: "DEVICE_UNREGISTERED"}, nil, true},
		"two reasons for two":               {"AA", []string{nackWithoutID, errorWithoutID}, nil, nil, true},
		"to a target that is not in flight": {"A", []string{nackFromB}, map[uint64]string{1: "DEVICE_UNREGISTERED"}, nil, false},
		"of an ack":                         {"A", []string{errorOfAnAck}, nil, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, ccssim.Options{}, nil, func(w *world) {
				w.srv.Nack(ccssim.Nack{Count: -1})
				for i, token := range c.tokens {
					w.outbox.send(i+1, 1, "tok"+string(token))
				}
				w.until("them", func(n ccssim.Counts) bool { return n.Downstreams == uint64(len(c.tokens)) })
				for _, raw := range c.inject {
					w.srv.Inject(raw)
					synctest.Wait()
				}
				w.outbox.look(func(b *outbox) {
					if !maps.Equal(b.nacked, c.nacked) && len(b.nacked)+len(c.nacked) > 0 {
						t.Errorf("nacked %v, want %v", b.nacked, c.nacked)
					}
					if !maps.Equal(b.refused, c.refused) && len(b.refused)+len(c.refused) > 0 {
						t.Errorf("refused %v, want %v", b.refused, c.refused)
					}
				})
				said := strings.Contains(w.log.String(), "does not say which") && len(w.s.Status().Recent) > 0
				if said != c.unnamed {
					t.Errorf("said that it can't be told: %v\n%s", said, w.log)
				}
				if n := w.srv.Counts().Logins; n != 1 {
					t.Errorf("%d connections", n)
				}
				w.legal()
			})
		})
	}
}

// One that comes when an ack has just gone out is of that, more likely.
func TestStanzaErrorAfterAnAck(t *testing.T) { // P4
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.srv.Nack(ccssim.Nack{Count: -1})
		w.outbox.send(1, 1, "tokA")
		w.srv.Upstream("tokA", "app", nil)
		w.until("both", func(n ccssim.Counts) bool { return n.Downstreams == 1 && n.Acked == 1 })
		w.srv.Inject(errorWithoutID)
		synctest.Wait()
		w.outbox.look(func(b *outbox) {
			if len(b.refused) > 0 {
				t.Errorf("refused %v", b.refused)
			}
		})
		if w.s.Status().StanzaErrors != 1 {
			t.Error("not counted")
		}
	})
}

// One that can be of nothing is an unusable payload.
func TestRefusalWithoutAnIDOfNothing(t *testing.T) {
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.srv.Inject(nackWithoutID)
		synctest.Wait()
		if st := w.s.Status(); st.Unusable != 1 || len(st.Recent) != 1 || st.Connections[0].Unackable != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// What can't be told goes back with CCS's reason when the connection ends, and
// alone, so that the next refusal is clear.
func TestRefusalWithoutAnIDGoesBackAsTheReason(t *testing.T) { // P4
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.srv.Nack(ccssim.Nack{Count: 2})
		w.outbox.send(1, 2, "tokA")
		w.until("both", func(n ccssim.Counts) bool { return n.Downstreams == 2 })
		w.srv.Inject(nackWithoutID)
		time.Sleep(time.Second)
		w.srv.Cut()
		w.until("both again", func(n ccssim.Counts) bool { return n.AckedDown == 2 })
		w.outbox.look(func(b *outbox) {
			if len(b.ends) != 1 || !b.ends[0].Vague || !strings.Contains(b.ends[0].Why, "DEVICE_UNREGISTERED") || !strings.Contains(b.ends[0].Why, "gone") {
				t.Errorf("returned as %+v", b.ends)
			}
		})
	})
}
