package ccssim

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/xmpp"
)

func TestUpstreamWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{Window: 3, Keepalive: -1, Run: "r"})
		c := login(t, s)
		for i := range 5 {
			s.Upstream("tok", "com.example", map[string]int{"i": i})
		}
		c.receive(3)
		c.silent(time.Hour) // the window is full
		c.ack("tok", "u-r-2")
		equal(t, "after an ack", c.receive(1)[0], "tok u-r-4")
		c.silent(time.Hour)
		equal(t, "acked", s.Counts().Acked, 1)
		equal(t, "max in flight", s.Report().InFlight, 3)
		s.Close()
	})
}

// P1: an ack counts only once, and only on the connection that carries the message.
func TestWrongAcks(t *testing.T) {
	s := newServer(t, Options{})
	one := login(t, s)
	s.Send(Upstream{From: "tok", MessageID: "7", Data: []byte(`{"k":"a & b"}`)})
	equal(t, "data", one.payload()["data"].(map[string]any)["k"], any("a & b"))

	two := login(t, s)
	for i, c := range []*client{two, one, one, one} {
		switch i {
		case 0:
			c.ack("tok", "7") // wrong connection
		case 1:
			c.ack("kot", "7") // wrong device
		case 2:
			c.ack("tok", "7")
			continue
		case 3:
			c.ack("tok", "7") // again
		}
		st := c.stanza()
		if st.Type != "error" || st.Err.Code != "406" || st.Err.Condition != "not-acceptable" || st.ID != "a" {
			t.Errorf("got %+v, want the 406", st)
		}
	}
	one.write(`<iq type="get" id="p"><ping xmlns="urn:xmpp:ping"/></iq>`)
	equal(t, "the stream goes on", one.stanza().Kind, xmpp.IQ)
	equal(t, "acked", s.Counts().Acked, 1)
	equal(t, "wrong acks", s.Counts().WrongAcks, 3)
	equal(t, "first wrong ack", s.Report().WrongAckID[0], WrongAck{2, "tok", "7"})
}

// When a connection ends, for any reason, its un-acked upstreams come again: oldest
// first, with the same bytes. Acked ones don't.
func TestRedelivery(t *testing.T) {
	for _, end := range []CutMode{CutFIN, CutRST, CutBlackhole, "close"} {
		s := newServer(t, Options{Run: "r", Window: 4, Devices: Devices{Count: 2, Limit: 6, Size: 200, Category: "c"}})
		c := login(t, s)
		first := map[string]string{}
		for range 4 {
			st := c.stanza()
			first[fmt.Sprint(len(first))] = string(st.GCM)
		}
		c.ack("device-2", "r-1")
		c.receive(1)
		s.Upstream("tok", "c", nil) // it waits, because the window is full
		if end == "close" {
			c.nc.Close()
			for s.Report().InFlight > 0 { // until the server has seen it
				runtime.Gosched()
			}
		} else if n, err := s.CutWith(Cut{Mode: end}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		again := login(t, s)
		for _, i := range []string{"0", "2", "3"} {
			if st := again.stanza(); string(st.GCM) != first[i] {
				t.Errorf("%s: got %s, want %s", end, st.GCM, first[i])
			}
		}
		equal(t, "then the next", again.receive(1)[0], "device-1 r-3")
		for _, id := range []string{"1", "2", "3"} {
			again.ack("device-1", "r-"+id)
		}
		again.ack("device-2", "r-2")
		equal(t, "then what waited", strings.Join(again.receive(2), ","), "tok u-r-6,device-2 r-3")
		again.ack("device-2", "r-3")
		again.ack("tok", "u-r-6")
		await(t, s, func(c Counts) bool { return c.Acked == 7 })
		if end != "close" {
			equal(t, "cut", s.Counts().Cut, 1)
		}
		equal(t, "redelivered", s.Counts().Redelivered, 4)
		equal(t, "wrong acks", s.Counts().WrongAcks, 0)
		var acked bytes.Buffer
		s.WriteAcked(&acked)
		equal(t, "acked", acked.String(), "tok\tu-r-6\ndevice-1\tr-1\ndevice-1\tr-2\ndevice-1\tr-3\ndevice-2\tr-1\ndevice-2\tr-2\ndevice-2\tr-3\n")
	}
}

// Each writing of a message needs its own ack. A message that a device sends twice is
// two messages.
func TestDuplicates(t *testing.T) {
	s := newServer(t, Options{Duplicates: 0.9999999, Run: "r"})
	c := login(t, s)
	s.Send(Upstream{From: "tok", MessageID: "7"})
	equal(t, "twice", strings.Join(c.receive(2), ","), "tok 7,tok 7")
	c.ack("tok", "7")
	c.ack("tok", "7")
	c.ack("tok", "7")
	equal(t, "the third ack", c.stanza().Err.Code, "406")
	n := s.Counts()
	equal(t, "acked", n.Acked, 1)
	equal(t, "acked again", n.AckedAgain, 1)

	s.Send(Upstream{From: "tok", MessageID: "7", Data: []byte(`{}`)})
	s.Send(Upstream{From: "tok", MessageID: "7", Data: []byte(`{}`)})
	c.receive(4)
	for range 4 {
		c.ack("tok", "7")
	}
	await(t, s, func(c Counts) bool { return c.Acked == 3 && c.AckedAgain == 3 })
}

// A message with two deliveries does not come again after the ack of one of them.
func TestAckedDuplicateEndsWithItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{Duplicates: 0.9999999, Keepalive: -1})
		c := login(t, s)
		s.Send(Upstream{From: "tok", MessageID: "7"})
		c.receive(2)
		c.ack("tok", "7")
		synctest.Wait()
		s.Cut()
		login(t, s).silent(time.Hour)
		s.Close()
	})
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{Run: "r"})
		s.Upstream("tok", "", nil)
		time.Sleep(23 * time.Hour)
		s.Upstream("tok", "", nil)
		time.Sleep(2 * time.Hour)
		c := login(t, s)
		equal(t, "the younger", c.receive(1)[0], "tok u-r-2")
		equal(t, "expired", s.Counts().Expired, 1)
		s.Close()
	})
}

func TestLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{Window: 1000, Keepalive: -1, Run: "r"})
		if err := s.StartDevices(Devices{Count: 3, Rate: 100, Limit: 250, Size: 300, Category: "com.example.<echo>", Data: map[string]string{"room": `"a&b"`}}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		c := login(t, s)
		counters := map[any]int{}
		for i := range 250 {
			st := c.stanza()
			equal(t, "size", len(st.GCM), 300)
			m := decodeJSON(t, st.GCM)
			data := m["data"].(map[string]any)
			counters[m["from"]]++
			equal(t, "counter", data["n"], any(fmt.Sprint(counters[m["from"]])))
			equal(t, "room", data["room"], any(`"a&b"`))
			equal(t, "category", m["category"], any("com.example.<echo>"))
			if late := time.Since(begin) - time.Duration(i+1)*10*time.Millisecond; late < 0 || late > 2*time.Millisecond {
				t.Fatalf("message %d is off its time by %v", i+1, late)
			}
		}
		c.silent(time.Minute)
		equal(t, "unacked of device-1", len(must(s.Device("device-1")).Unacked), 84)
		s.StartDevices(Devices{Count: 1})
		equal(t, "the counter goes on", c.receive(1)[0], "device-1 r-85")
		s.Close()
	})
}

func TestWrongLoads(t *testing.T) {
	s := newServer(t, Options{})
	for _, d := range []Devices{
		{Count: -1}, {Rate: -1}, {Limit: -1}, {Size: -1},
		{Data: map[string]string{"n": "1"}}, {Category: "\ufffe"}, {Sender: "nobody"},
	} {
		if err := s.StartDevices(d); err == nil {
			t.Errorf("no error for %+v", d)
		}
	}
	if _, err := s.Send(Upstream{From: "t", Payload: "\x00"}); err == nil {
		t.Error("no error for NUL")
	}
	if _, err := s.Send(Upstream{}); err == nil {
		t.Error("no error for an upstream without from")
	}
}

// The bytes are the same, however they are divided into writes.
func TestWriteShapes(t *testing.T) {
	for _, o := range []Options{{SplitBytes: 1}, {SplitBytes: 7}, {WriteEach: true}} {
		o.Run, o.Devices = "r", Devices{Count: 1, Limit: 50, Size: 150}
		c := login(t, newServer(t, o))
		for i, got := range c.receive(50) {
			equal(t, "message", got, fmt.Sprint("device-1 r-", i+1))
		}
	}
}

func TestTwoConnectionsShareTheLoad(t *testing.T) {
	s := newServer(t, Options{Run: "r", Window: 10})
	a, b := login(t, s), login(t, s)
	s.StartDevices(Devices{Count: 4, Limit: 20})
	got := append(a.receive(10), b.receive(10)...)
	slices.Sort(got)
	equal(t, "distinct messages", len(slices.Compact(got)), 20)
}

// A load makes as many messages as its rate and limit allow, even if one connection
// asks with an older time than another one did.
func TestLoadNeverRunsAway(t *testing.T) {
	for _, set := range []Devices{{Count: 3, Rate: 100, Limit: 500}, {Count: 3, Rate: 100, Limit: 150}, {Count: 3, Limit: 100}} {
		s := newServer(t, Options{Devices: set})
		a := s.accounts[s.opts.SenderID]
		made := func(at time.Duration) (n int) {
			for s.next(a, a.load.start.Add(at)) != nil {
				if n++; n > 1000 {
					t.Fatalf("%+v: no end", set)
				}
			}
			return n
		}
		equal(t, "made within the first second", made(time.Second), 100)
		for range 3 {
			equal(t, "made at a time before", made(900*time.Millisecond), 0)
		}
		equal(t, "made in all", 100+made(time.Minute), set.Limit)
		s.mu.Lock()
		due := a.load.due(a.load.start)
		s.mu.Unlock()
		equal(t, "due", due, 0)
	}
}

// WriteAcked lists exactly the acked upstreams, while connections are cut at any byte.
func TestNothingLostOverCuts(t *testing.T) {
	s := newServer(t, Options{Run: "r", SplitBytes: 50, Devices: Devices{Count: 7, Limit: 2000, Size: 100}})
	acked := map[string]bool{}
	for round := 0; s.Counts().Acked < 2000; round++ {
		c := login(t, s)
		if n, err := s.CutWith(Cut{After: 1 + round*997%30_000}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		for {
			st, err := c.read()
			if err != nil {
				break
			}
			m := decodeJSON(t, st.GCM)
			line := fmt.Sprintf("%s\t%s\n", m["from"], m["message_id"])
			ack := fmt.Sprintf(`<message><gcm xmlns="google:mobile:data">{"to":%q,"message_id":%q,"message_type":"ack"}</gcm></message>`, m["from"], m["message_id"])
			if _, err := c.nc.Write([]byte(ack)); err != nil {
				break
			}
			acked[line] = true
			if len(acked) == 2000 {
				// All is acked. If a cut lost acks, another round brings them.
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				s.Await(ctx, func(n Counts) bool { return n.Acked == 2000 })
				cancel()
				break
			}
		}
		c.nc.Close()
	}
	var books bytes.Buffer
	s.WriteAcked(&books)
	for line := range strings.Lines(books.String()) {
		if !acked[line] {
			t.Errorf("%q is listed, and was never acked", line)
		}
		delete(acked, line)
	}
	equal(t, "acked and not in the books", len(acked), 0)
	equal(t, "wrong acks", s.Counts().WrongAcks, 0)
	r := s.Report()
	equal(t, "left", r.Waiting+r.InFlight, 0)
	if r.Redelivered == 0 {
		t.Error("no cut hit a connection, so this test tested nothing")
	}
}
