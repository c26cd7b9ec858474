package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/frame"

	"github.com/coder/websocket"
)

// P1: an upstream is acked after its commit, on the connection that brought it, and in
// the order in which they came. P6: one that was stored before is acked too.
func TestUpstreamIsAckedAfterTheCommit(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		r.books.hold = true
		one, two := r.connect("phone-1"), r.connect("phone-2")
		first, second := one.live(false), two.live(false)
		one.upstream("m1", "m2", "m1")
		two.upstream("n1")
		synctest.Wait()
		if got := append(first.heard(), second.heard()...); got != nil {
			t.Fatalf("before the commit: %q", got)
		}
		r.books.commit()
		synctest.Wait()
		if got := first.heard(); !slices.Equal(got, []string{"ack m1", "ack m2", "ack m1"}) {
			t.Errorf("phone-1 heard %q", got)
		}
		if got := second.heard(); !slices.Equal(got, []string{"ack n1"}) {
			t.Errorf("phone-2 heard %q", got)
		}
		if s, d := r.s.tally.stored.Load(), r.s.tally.duplicates.Load(); s != 3 || d != 1 {
			t.Errorf("%d count as stored, %d as duplicates", s, d)
		}
	})
}

// What can never be stored gets a permanent nack, and what comes after it is stored. Both
// are answered in the order in which they came.
func TestRefusedUpstream(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		r.books.hold = true
		p := r.connect("phone-1")
		p.upstream("m1")
		p.text(`{"type":"upstream","message_id":"m2","data":{},"time_to_live":"soon"}`)
		p.text(`{"type":"upstream","message_id":"m3","data":"big"}`)
		p.upstream("m4")
		synctest.Wait()
		r.books.commit()
		p.expect(frame.TypeAck, "m1")
		for _, id := range []string{"m2", "m3"} {
			if f := p.expect(frame.TypeNack, id); f.Temporary || f.Error == "" || f.Description == "" || f.RetryAfter != 0 {
				t.Errorf("nack %+v", f)
			}
		}
		p.expect(frame.TypeAck, "m4")
	})
}

// Where there is no room the nack is temporary and says when to try again. Nothing that
// comes later on the connection is stored, although there is room again (P1). The
// connection ends then, so that the device sends all again, in order.
func TestNoRoomForAnUpstream(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		p := r.connect("phone-1")
		p.upstream("m1")
		p.expect(frame.TypeAck, "m1")
		r.books.set(func() { r.books.full = true })
		p.upstream("m2")
		f := p.expect(frame.TypeNack, "m2")
		if !f.Temporary || f.Error != "NO_ROOM" || f.RetryAfter < 20 || f.RetryAfter > 60 {
			t.Errorf("nack %+v", f)
		}
		start := time.Now()
		r.books.set(func() { r.books.full = false })
		p.upstream("m3", "m4")
		p.expect(frame.TypeNack, "m3", "m4")
		heard := p.live(false)
		<-heard.done
		if took := heard.at.Sub(start); heard.code != websocket.StatusTryAgainLater || took != time.Duration(f.RetryAfter)*time.Second {
			t.Errorf("closed with %d after %v", heard.code, took)
		}
		if !slices.Equal(r.books.stored, []string{"m1"}) {
			t.Errorf("stored: %q", r.books.stored)
		}
		again := r.connect("phone-1")
		again.upstream("m2", "m3", "m4")
		again.expect(frame.TypeAck, "m2", "m3", "m4")
	})
}

// A receipt is stored and acked as an upstream is, in order with them. One of something
// that was not sent to the device is refused.
func TestReceiptOnASocket(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		r.books.hold = true
		p := r.connect("phone-1")
		p.upstream("m1")
		p.text(`{"type":"receipt","original_message_id":"d-2","status":"OPENED","timestamp":1790000000000}`)
		p.text(`{"type":"receipt","original_message_id":"d-3","status":"OPENED","message_id":"r1"}`)
		synctest.Wait()
		r.books.commit()
		p.expect(frame.TypeAck, "m1")
		if f := p.expect(frame.TypeAck, ""); f.Original != "d-2" || f.Status != "OPENED" { // without a message_id, as the receipt
			t.Errorf("ack %+v", f)
		}
		p.expect(frame.TypeAck, "r1")
		r.books.set(func() { r.books.unsent, r.books.hold = true, false })
		p.text(`{"type":"receipt","original_message_id":"d-9","status":"OPENED"}`)
		if f := p.expect(frame.TypeNack, ""); f.Original != "d-9" || f.Temporary || f.Error != "NOT_SENT" {
			t.Errorf("nack %+v", f)
		}
		if n := r.s.tally.receipts.Load(); n != 2 {
			t.Errorf("%d count as receipts", n)
		}
	})
}

// A device that sends more than max_unacked without an answer, faster than it may, or
// what brings nothing, is closed with 4429. All is counted.
func TestFloods(t *testing.T) {
	for _, c := range []struct {
		name string
		send func(*room, *phone)
	}{
		{"more than max_unacked", func(r *room, p *phone) {
			r.books.set(func() { r.books.hold = true })
			for i := range frame.MaxUnacked + 1 {
				p.upstream(fmt.Sprint("m", i))
			}
		}},
		{"pongs", func(_ *room, p *phone) {
			for range junkBurst + 1 {
				p.send(frame.Frame{Type: frame.TypePong})
			}
		}},
		{"acks of nothing", func(_ *room, p *phone) {
			for range junkBurst + 1 {
				p.ack("d-1")
			}
		}},
		{"hellos", func(_ *room, p *phone) {
			for range junkBurst + 1 {
				p.send(frame.Frame{Type: frame.TypeHello, Token: "any", From: "phone-1"})
			}
		}},
		{"WebSocket's pings", func(_ *room, p *phone) { p.raw(junkBurst+1, 0x89) }},
		{"empty fragments", func(_ *room, p *phone) { p.raw(1, 0x01); p.raw(junkBurst+1, 0x00) }},
		{"pings between fragments", func(_ *room, p *phone) { p.raw(1, 0x01); p.raw(junkBurst+1, 0x89, 0x00) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inRoom(t, func(t *testing.T, r *room) {
				p := r.connect("phone-1")
				heard := p.live(false)
				c.send(r, p)
				<-heard.done
				if heard.code != frame.CloseSlowDown || r.s.tally.limits != 1 {
					t.Errorf("closed with %d, %d count as limited", heard.code, r.s.tally.limits)
				}
				r.books.commit() // what had come is stored all the same
			})
		})
	}
}

// The rate of a device's messages is limited.
func TestRateOfADevice(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		r.desk.room = 3
		p := r.connect("phone-1")
		p.upstream("m1", "m2")
		p.expect(frame.TypeAck, "m1", "m2")
		p.upstream("m3")
		p.closed(frame.CloseSlowDown)
	})
}

// Unknown types, a few pongs, and acks of nothing do no harm.
func TestUnknownFramesAreIgnored(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		p := r.connect("phone-1")
		p.text(`{"type":"tomorrow","message_id":{"a":[1]}}`)
		p.text(`{"type":"pong","new":true}`)
		p.ack("d-1")
		p.upstream("m1")
		p.expect(frame.TypeAck, "m1")
	})
}

// What is no frame ends the connection with the code that says why.
func TestFramesThatEndAConnection(t *testing.T) {
	big := make([]byte, frame.MaxFrame+1)
	for i := range big {
		big[i] = ' '
	}
	for _, c := range []struct {
		name string
		kind websocket.MessageType
		text []byte
		code websocket.StatusCode
	}{
		{"binary", websocket.MessageBinary, []byte("{}"), 1003},
		{"not JSON", websocket.MessageText, []byte("hello"), 1007},
		{"not an object", websocket.MessageText, []byte("[]"), 1007},
		{"half of a surrogate pair in an id", websocket.MessageText, []byte(`{"type":"upstream","message_id":"\ud800","data":{}}`), 1007},
		{"not UTF-8", websocket.MessageText, []byte("{\"type\":\"\xff\"}"), 1007},
		{"no type", websocket.MessageText, []byte("{}"), 1008},
		{"too deep", websocket.MessageText, []byte(`{"type":"upstream","data":` + strings.Repeat("[", 64)), 1008},
		{"too big", websocket.MessageText, big, 1009},
	} {
		t.Run(c.name, func(t *testing.T) {
			inRoom(t, func(t *testing.T, r *room) {
				p := r.connect("phone-1")
				heard := p.live(false)
				p.ws.Write(t.Context(), c.kind, c.text)
				<-heard.done
				if heard.code != c.code {
					t.Errorf("closed with %d, want %d", heard.code, c.code)
				}
			})
		})
	}
}
