package gateway

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/frame"
	"balhost/sdk/message"

	"github.com/coder/websocket"
)

// A downstream has all that the device needs, and what remains of its TTL. Its ack is its
// outcome.
func TestDownstreamFrame(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		p := r.connect("phone-1")
		ttl := 90*time.Second + 700*time.Millisecond
		r.books.set(func() {
			r.books.waiting = []entry.Outgoing{{Seq: 7, Attempt: 3, TTL: &ttl, Message: message.Checked{To: message.FID("phone-1"), MessageID: "d-7",
				Data: []byte(`{"a":"<b>"}`), Notification: []byte(`{"title":"T"}`), Options: message.Options{CollapseKey: "k"}}}}
		})
		r.books.send("phone-2") // wakes phone-1
		f := p.expect(frame.TypeDownstream, "d-7")
		if string(f.Data) != `{"a":"<b>"}` || string(f.Notification) != `{"title":"T"}` || f.CollapseKey != "k" || f.Attempt != 3 || *f.TimeToLive != 90 {
			t.Errorf("downstream %+v", f)
		}
		p.ack("d-7")
		synctest.Wait()
		if !slices.Equal(r.books.ended, []string{"7 acked"}) {
			t.Errorf("ended: %q", r.books.ended)
		}
	})
}

// P3: never more than receive_max are un-acked, and each ack makes room for one.
func TestWindowOfADevice(t *testing.T) {
	for said, want := range map[int]int{0: 20, 1: 1, 7: 7, 100: 100, 1000: 100, -1: 1} {
		t.Run(fmt.Sprint(said), func(t *testing.T) {
			inRoom(t, func(t *testing.T, r *room) {
				seqs := make([]uint64, 250)
				for i := range seqs {
					seqs[i] = uint64(i) + 1000
				}
				r.books.send("phone-1", seqs...)
				for i := range r.books.waiting {
					r.books.waiting[i].Message.Options.ReceiptRequested = false
				}
				p, _, err := r.dial()
				if err != nil {
					t.Fatal(err)
				}
				p.send(frame.Frame{Type: frame.TypeHello, Token: "any", From: "phone-1", ReceiveMax: said})
				heard := p.live(false)
				synctest.Wait()
				if got := len(heard.heard()) - 1; got != want {
					t.Fatalf("%d downstreams without an ack, want %d", got, want)
				}
				p.ack("d-1000")
				synctest.Wait()
				if got := len(heard.heard()) - 1; got != want+1 {
					t.Errorf("after an ack: %d downstreams, want %d", got, want+1)
				}
			})
		})
	}
}

// What is not acked in 10 s ends the connection. It is given back before the route ends,
// and comes again with the same id.
func TestDownstreamWithoutAck(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		p := r.connect("phone-1")
		r.books.send("phone-1", 1, 2, 3)
		start := time.Now()
		heard := p.live(false)
		synctest.Wait()
		time.Sleep(3 * time.Second)
		p.ack("d-2")
		<-heard.done
		if took := heard.at.Sub(start); heard.code != websocket.StatusTryAgainLater || took != ackLimit {
			t.Errorf("closed with %d after %v", heard.code, took)
		}
		synctest.Wait()
		if !slices.Equal(r.books.ended, []string{"2 acked", "1 returned: ours", "3 returned: ours"}) {
			t.Errorf("ended: %q", r.books.ended)
		}
	})
}

// `received` in hello settles what the device has, before anything is sent.
func TestReceivedInHello(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		r.books.send("phone-1", 1, 2)
		p, _, _ := r.dial()
		p.text(`{"type":"hello","token":"phone-1","received":["d-9","d-1"]}`)
		p.expect(frame.TypeWelcome)
		p.expect(frame.TypeDownstream, "d-2")
		p.ack("d-2")
		synctest.Wait()
		if !slices.Equal(r.books.ended, []string{"has d-1", "2 acked"}) {
			t.Errorf("ended: %q", r.books.ended)
		}
	})
}

// The ack of a downstream that asks for a receipt is stored as one. Only then is the
// downstream answered: if there is no room, it comes again, and so does its ack.
func TestReceiptOfAnAck(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		p := r.connect("phone-1")
		r.books.set(func() { r.books.hold = true })
		r.books.send("phone-1", 100)
		p.expect(frame.TypeDownstream, "d-100")
		p.ack("d-100")
		synctest.Wait()
		if r.books.ended != nil {
			t.Errorf("before the commit: %q", r.books.ended)
		}
		r.books.commit()
		synctest.Wait()
		if !slices.Equal(r.books.ended, []string{"100 acked"}) || !slices.Equal(r.books.stored, []string{"MESSAGE_SENT_TO_DEVICE of d-100"}) {
			t.Errorf("ended %q, stored %q", r.books.ended, r.books.stored)
		}
		r.books.set(func() { r.books.full, r.books.ended = true, nil })
		r.books.send("phone-1", 101)
		p.expect(frame.TypeDownstream, "d-101")
		p.ack("d-101")
		synctest.Wait()
		r.books.commit()
		p.closed(websocket.StatusTryAgainLater)
		if !slices.Equal(r.books.ended, []string{"101 returned: ours"}) {
			t.Errorf("ended: %q", r.books.ended)
		}
	})
}

// What the device has by its hello is a receipt, too, if the message asks for one. Nothing is
// sent before the commit; where there is no room, all comes again.
func TestReceiptOfReceived(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		r.books.send("phone-1", 1, 100)
		r.books.set(func() { r.books.hold = true })
		const hello = `{"type":"hello","token":"phone-1","received":["d-100","d-9"]}`
		p, _, _ := r.dial()
		p.text(hello)
		synctest.Wait()
		if len(r.books.ended)+len(r.books.out) > 0 {
			t.Errorf("before the commit: ended %q, out %v", r.books.ended, r.books.out)
		}
		r.books.set(func() { r.books.full = true })
		r.books.commit()
		p.closed(websocket.StatusTryAgainLater)
		r.books.set(func() { r.books.full = false })
		p, _, _ = r.dial()
		p.text(hello)
		synctest.Wait()
		r.books.commit()
		p.expect(frame.TypeWelcome)
		p.expect(frame.TypeDownstream, "d-1")
		p.ack("d-1")
		synctest.Wait()
		if !slices.Equal(r.books.ended, []string{"has d-100", "1 acked"}) || !slices.Equal(r.books.stored, []string{"MESSAGE_SENT_TO_DEVICE of d-100"}) {
			t.Errorf("ended %q, stored %q", r.books.ended, r.books.stored)
		}
	})
}

// No device sees a dry run: it goes by the session's transport.
func TestDryRun(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		r.books.send("phone-1", 1, 2)
		r.books.waiting[0].Message.Options.DryRun = true
		p := r.connect("phone-1")
		p.expect(frame.TypeDownstream, "d-2")
		p.ack("d-2")
		synctest.Wait()
		if !slices.Equal(r.books.ended, []string{"1 resend", "2 acked"}) {
			t.Errorf("ended: %q", r.books.ended)
		}
	})
}

// A device that acks what is another's changes nothing of the other's.
func TestAckOfAnothersDownstream(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		one, two := r.connect("phone-1"), r.connect("phone-2")
		r.books.send("phone-1", 1)
		one.expect(frame.TypeDownstream, "d-1")
		two.ack("d-1")
		two.upstream("m1")
		two.expect(frame.TypeAck, "m1")
		if r.books.ended != nil {
			t.Errorf("ended: %q", r.books.ended)
		}
	})
}

// A newer connection of a device closes the older with 4409. What was in flight there is
// given back first, and comes on the newer.
func TestNewerConnectionReplacesTheOlder(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		older := r.connect("phone-1")
		r.books.send("phone-1", 1)
		older.expect(frame.TypeDownstream, "d-1")
		heard := older.live(false)
		newer := r.connect("phone-1")
		<-heard.done
		if heard.code != frame.CloseReplaced {
			t.Errorf("the older was closed with %d", heard.code)
		}
		if !slices.Equal(r.books.ended, []string{"1 returned: ours"}) {
			t.Errorf("ended: %q", r.books.ended)
		}
		r.books.send("phone-1", 1)
		newer.expect(frame.TypeDownstream, "d-1")
		newer.ack("d-1")
		synctest.Wait()
		if n := r.s.registry.count(); n != 1 {
			t.Errorf("%d devices are connected", n)
		}
	})
}

// However many connections a device makes at once, one stays, and books has seen never two
// routes of it.
func TestManyConnectionsOfOneDevice(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		var tapes []*tape
		for range 30 {
			p, _, err := r.dial()
			if err != nil {
				t.Fatal(err)
			}
			tapes = append(tapes, p.live(true))
			go p.send(frame.Frame{Type: frame.TypeHello, Token: "any", From: "phone-1"})
		}
		synctest.Wait()
		time.Sleep(5 * time.Second)
		r.books.send("phone-1", 1)
		synctest.Wait()
		open, got := 0, 0
		for _, tape := range tapes {
			tape.mu.Lock()
			switch {
			case tape.code == 0:
				open++
				got += len(tape.frames)
			case tape.code != frame.CloseReplaced:
				t.Errorf("closed with %d", tape.code)
			}
			tape.mu.Unlock()
		}
		if open != 1 || got != 2 || r.s.registry.count() != 1 {
			t.Errorf("%d are open, and heard %d frames; %d are known", open, got, r.s.registry.count())
		}
	})
}

// The host pings after 25 s in which it has sent nothing, also while the device sends. A
// device that is silent after a ping is closed.
func TestPing(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		start := time.Now()
		p := r.connect("phone-1")
		for range 3 {
			p.expect(frame.TypePing)
			p.send(frame.Frame{Type: frame.TypePong})
		}
		if took := time.Since(start); took != 3*pingAfter {
			t.Errorf("three pings after %v", took)
		}
		p.expect(frame.TypePing)
		heard := p.live(false)
		<-heard.done
		if took := heard.at.Sub(start); heard.code != websocket.StatusTryAgainLater || took != 4*pingAfter+pongLimit {
			t.Errorf("closed with %d after %v", heard.code, took)
		}
	})
}

// Drain: the device is told, gets the acks that it is owed, and is closed with 1012. What
// it sends then is not stored, so that its order stays.
func TestDrain(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		r.books.hold = true
		p := r.connect("phone-1")
		quiet, _, _ := r.dial() // has not said hello
		idle := r.connect("phone-2")
		p.upstream("m1")
		tapes := []*tape{p.live(false), quiet.live(false), idle.live(false)}
		synctest.Wait()
		gone := make(chan struct{})
		start := time.Now()
		go func() { defer close(gone); r.s.registry.drain(5 * time.Second) }()
		synctest.Wait()
		p.upstream("m2")
		time.Sleep(time.Second)
		r.books.commit()
		<-gone
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		for i, want := range []string{"[drain ack m1]", "[]", "[drain]"} {
			<-tapes[i].done
			if got := fmt.Sprint(tapes[i].heard()); got != want || tapes[i].code != websocket.StatusServiceRestart {
				t.Errorf("%d: heard %s, closed with %d; want %s", i, got, tapes[i].code, want)
			}
		}
		if f := tapes[0].frames[0]; f.RetryAfter < 1 || f.RetryAfter > 10 {
			t.Errorf("drain: %+v", f)
		}
		if !slices.Equal(r.books.stored, []string{"m1"}) {
			t.Errorf("stored: %q", r.books.stored)
		}
		if _, answer, _ := r.dial(); answer.StatusCode != 503 {
			t.Errorf("a new one is answered with %d", answer.StatusCode)
		}
	})
}

// A drain ends in time, whatever devices and ledger do.
func TestDrainIsBounded(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		r.books.hold = true
		p := r.connect("phone-1")
		p.upstream("m1")
		deaf := r.connect("phone-2") // reads nothing
		r.books.send("phone-2", 1)
		synctest.Wait()
		start := time.Now()
		r.s.registry.drain(5 * time.Second)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		r.books.commit()
		_, _ = p, deaf
	})
}

// A device that reads nothing loses its connection after 10 s, and what it was to get is
// given back.
func TestDeviceThatReadsNothing(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		r.connect("phone-1")
		r.books.send("phone-1", 1, 2)
		time.Sleep(writeLimit + 10*time.Second) // and the time for the close
		synctest.Wait()
		if !slices.Equal(r.books.ended, []string{"1 returned: ours", "2 returned: ours"}) || r.s.registry.count() != 0 {
			t.Errorf("ended: %q; %d are connected", r.books.ended, r.s.registry.count())
		}
	})
}

// A thousand devices that break off anywhere leave nothing behind, and others go on.
func TestHalfFrames(t *testing.T) {
	whole := maskedText(`{"type":"hello","token":"any","from":"phone-%d"}`)
	inRoom(t, func(t *testing.T, r *room) {
		good := r.connect("good")
		heard := good.live(true)
		for i := range 1000 {
			p, _, err := r.dial()
			if err != nil {
				t.Fatal(err)
			}
			frames := []byte(strings.ReplaceAll(whole, "%d", fmt.Sprintf("%02d", i%100)) + maskedText(`{"type":"upstream","message_id":"m","data":{}}`))
			go io.Copy(io.Discard, p.conn)
			p.conn.Write(frames[:i%len(frames)])
			switch i % 3 {
			case 0:
				p.conn.Close()
			case 1:
				p.ws.CloseNow()
			}
		}
		good.upstream("m1")
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := r.s.registry.count(); n != 1 || len(r.s.registry.all) != 1 {
			t.Errorf("%d devices are known, %d sockets", n, len(r.s.registry.all))
		}
		if got := heard.heard(); !slices.Contains(got, "ack m1") {
			t.Errorf("the good one heard %q", got)
		}
	})
}

// maskedText is a client's WebSocket frame with a short text, masked with zeros.
func maskedText(s string) string { return string([]byte{0x81, 0x80 | byte(len(s)), 0, 0, 0, 0}) + s }

// A device that comes again does not wait longer than a second for its older connection,
// which may be dead: then nobody reads there.
func TestDeadConnectionIsReplaced(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		r.connect("phone-1") // reads nothing
		r.books.send("phone-1", 1)
		synctest.Wait()
		start := time.Now()
		r.connect("phone-1")
		if took := time.Since(start); took > hurry {
			t.Errorf("it was welcomed after %v", took)
		}
	})
}
