package ccs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/ccssim"
	"balhost/host/internal/xmpp"
)

func TestWrongKeyDoesNotStorm(t *testing.T) { // P10; ccs-protocol.md §12 (i)
	synctest.Test(t, func(t *testing.T) {
		w := start(t, ccssim.Options{}, func(o *Options) { o.Key = "wrong" })
		time.Sleep(29 * time.Second)
		if c := w.srv.Counts(); c.Denied != 1 {
			t.Errorf("%d logins in the first 29 s, want 1", c.Denied)
		}
		time.Sleep(time.Hour)
		if c := w.srv.Counts(); c.Denied < 12 || c.Denied > 30 {
			t.Errorf("%d logins in an hour: want between 12 and 30", c.Denied)
		}
		log := w.log.String()
		if strings.Count(log, "[ERROR]") != 1 || !strings.Contains(log, "check sender_id and server_key") {
			t.Errorf("want one clear error: %s", log)
		}
		if strings.Contains(log, "wrong") {
			t.Error("the key is in the log")
		}
		var refused *xmpp.AuthError
		st := w.s.Status()
		if !errors.As(st.LastError, &refused) || len(st.Connections) != 1 || st.Connections[0].State != Waiting {
			t.Errorf("status %+v", st)
		}
		w.finish()
	})
}

func TestHalfOpenLinkIsFound(t *testing.T) { // P10; ccs-protocol.md §12 (j)
	for _, load := range []int{0, 50} {
		simulate(t, ccssim.Options{}, nil, func(w *world) {
			time.Sleep(5 * time.Minute) // idle, but alive
			if c := w.srv.Counts(); c.Logins != 1 || c.Pings < 14 {
				t.Fatalf("%d logins, %d pings in 5 idle minutes", c.Logins, c.Pings)
			}
			if _, err := w.srv.CutWith(ccssim.Cut{Mode: ccssim.CutBlackhole}); err != nil {
				t.Fatal(err)
			}
			lost := time.Now()
			w.outbox.send(1, load, "tokA")
			w.until("second login", func(c ccssim.Counts) bool { return c.Logins == 2 })
			if d := time.Since(lost); d > 31*time.Second { // ping interval + timeout + the first backoff
				t.Errorf("found after %v", d)
			}
			w.until("downstreams", func(c ccssim.Counts) bool { return c.AckedDown == uint64(load) })
		})
	}
}

func TestFrozenPeerIsLeft(t *testing.T) { // P10
	simulate(t, ccssim.Options{LoginTimeout: time.Hour}, nil, func(w *world) {
		w.srv.Freeze(true)
		w.outbox.send(1, 200, "tokA")
		w.srv.Upstream("tokA", "app", nil)
		time.Sleep(31 * time.Second) // ping interval + timeout, and the tick
		if st := w.s.Status(); st.LastError == nil {
			t.Error("nobody noticed")
		}
		time.Sleep(10 * time.Minute) // and the new connections get no further
		w.srv.Freeze(false)
		w.until("all of it", func(c ccssim.Counts) bool { return c.AckedDown >= 200 && c.Acked == 1 })
	})
}

// A peer that drips bytes but answers nothing is alive, and of no use.
func TestPeerThatOnlyDripsIsReplaced(t *testing.T) { // P10
	synctest.Test(t, func(t *testing.T) {
		ccs := newScript(t, `<stream:features><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"/></stream:features><iq type="result" id="bind"/>`)
		w := start(t, ccssim.Options{}, func(o *Options) { o.Dial = ccs.dial })
		time.Sleep(3 * time.Minute)
		if n := ccs.dials(); n < 5 || n > 6 { // ping interval + timeout
			t.Errorf("%d connections in 3 minutes, want 5 or 6", n)
		}
		w.finish()
	})
}

// Not every refusal is a person's matter: some are worth another try soon, and
// one that names another host says so where a person looks.
func TestRefusalsThatPass(t *testing.T) { // Spec: RFC 6120 §6.5.12, §4.9.3.19
	for words, says := range map[string]string{
		`<failure xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><temporary-auth-failure/></failure></stream:stream>`:                                    "login denied: temporary-auth-failure",
		`<stream:error><see-other-host xmlns="urn:ietf:params:xml:ns:xmpp-streams">ccs2.test:5235</see-other-host></stream:error></stream:stream>`: "it names ccs2.test:5235, which is not followed",
		`<stream:features/></stream:stream>`: xmpp.ErrNoLogin.Error(), // a server that starts
		`<stream:features><mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"/></stream:features></stream:stream>`: xmpp.ErrNoLogin.Error(),
	} {
		synctest.Test(t, func(t *testing.T) {
			ccs := newScript(t, "")
			ccs.refusal = words
			w := start(t, ccssim.Options{}, func(o *Options) { o.Dial = ccs.dial })
			time.Sleep(29 * time.Second)
			if n := ccs.dials(); n < 4 || n > 12 {
				t.Errorf("%d tries in the first 29 s", n)
			}
			time.Sleep(2 * time.Hour)
			if n := ccs.dials(); n < 30 || n > 120 {
				t.Errorf("%d tries in 2 h", n)
			}
			if err := w.s.Status().LastError; err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(w.log.String(), says) {
				t.Errorf("no %q in %v, or in the log", says, err)
			}
			if strings.Contains(w.log.String(), "server_key") || strings.Contains(w.log.String(), "does not let us in") {
				t.Errorf("a person is asked to look at the key: %s", w.log)
			}
			w.finish()
		})
	}
}

// Unknown stanzas and types, requests, and too large stanzas disturb nobody.
func TestOddThingsAreHarmless(t *testing.T) { // P10; ccs-protocol.md §12 (h)
	simulate(t, ccssim.Options{}, func(o *Options) { o.MaxStanza = 4096 }, func(w *world) {
		gcm := func(json string) string {
			return `<message><gcm xmlns="google:mobile:data">` + json + `</gcm></message>`
		}
		for _, raw := range []string{
			" \n ", `<presence/>`, `<whatever xmlns="urn:x"/>`, `<message/>`, `<message><body>hello</body></message>`,
			gcm(`{"message_type":"greeting","from":"x","message_id":"1"}`),
			gcm(`{"message_type":"control","control_type":"DANCE"}`),
			gcm(`{"message_type":"ack","message_id":"never sent"}`),
			gcm(`{"message_type":"nack","message_id":"never sent","error":"WHAT"}`),
			gcm(`{"message_type":"ack"}`),
			`<iq type="get" id="q1" from="gcm.googleapis.com"><ping xmlns="urn:xmpp:ping"/></iq>`,
			`<iq type="set" id="q2"><query xmlns="jabber:iq:version"/></iq>`,
			gcm(strings.Repeat("x", 1<<20)),
		} {
			if w.srv.Inject(raw) != 1 {
				t.Fatal("nobody is connected")
			}
		}
		w.srv.Upstream("tokA", "app", nil)
		w.outbox.send(1, 1, "tokA")
		w.until("life goes on", func(c ccssim.Counts) bool { return c.Acked == 1 && c.AckedDown == 1 })
		st := w.s.Status()
		if st.UnknownStanzas != 1 || st.UnknownTypes != 2 || st.LateAnswers != 2 || st.Unusable != 4 || st.Broken != 2 || st.TooLarge != 1 {
			t.Errorf("status %+v", st)
		}
		var said string
		for _, l := range w.srv.Transcript() {
			if !l.Sent {
				said += l.Stanza
			}
		}
		for _, want := range []string{`type="result" id="q1"`, `type="error" id="q2"`} {
			if !strings.Contains(said, want) {
				t.Errorf("no iq with %s", want)
			}
		}
		if c := w.srv.Counts(); c.Logins != 1 || c.StreamErrors != 0 {
			t.Errorf("the stream broke: %+v", c)
		}
	})
}

// Every byte is a place to lose the link, in mid-stanza too.
func TestCutAnywhereLosesNothing(t *testing.T) { // P1, P3; ccs-protocol.md §12 (a)
	simulate(t, ccssim.Options{}, func(o *Options) { o.Stable = time.Nanosecond }, func(w *world) {
		const cuts = 400
		for i := range cuts {
			w.until("login", func(c ccssim.Counts) bool { return c.Logins == i+1 })
			w.srv.CutWith(ccssim.Cut{After: i * 3})
			w.srv.Upstream("tokA", "app", map[string]string{"i": fmt.Sprint(i)})
			w.outbox.send(2*i+1, 2, "tokA")
			time.Sleep(time.Second)
			w.srv.Cut()
		}
		w.until("everything", func(c ccssim.Counts) bool { return c.Acked == cuts })
		w.until("answers", func(ccssim.Counts) bool {
			n := 0
			w.outbox.look(func(b *outbox) { n = unique(b.acked) })
			return n == 2*cuts
		})
		w.legal()
	})
}

func TestBackoffIsResetByAStableConnectionOnly(t *testing.T) {
	o := Options{Backoff: backoff.Policy{Min: time.Second, Max: 5 * time.Minute}}.withDefaults()
	// largest is the longest of many waits after n failures in a row.
	largest := func(n int, lasted time.Duration) (longest time.Duration) {
		for seed := range uint64(200) {
			p := patience{o: &o, rnd: rand.New(rand.NewPCG(seed, 1))}
			for range n {
				p.lost(0)
			}
			longest = max(longest, p.lost(lasted))
		}
		return longest
	}
	if d := largest(0, 0); d > time.Second || d < 900*time.Millisecond {
		t.Errorf("first wait up to %v, want 1 s", d)
	}
	if d := largest(5, 59*time.Second); d < 25*time.Second {
		t.Errorf("after five failures and a connection of 59 s: up to %v, want 32 s", d)
	}
	if d := largest(5, time.Minute); d > time.Second {
		t.Errorf("after five failures and a stable connection: up to %v, want 1 s", d)
	}
	if d := largest(50, 0); d > 5*time.Minute || d < 4*time.Minute {
		t.Errorf("after fifty failures up to %v, want 5 min", d)
	}
	p := patience{o: &o, rnd: rand.New(rand.NewPCG(1, 1))}
	for range 20 {
		if d := p.denied(0); d < 30*time.Second || d > 5*time.Minute {
			t.Errorf("wait after a refused login: %v", d)
		}
	}
	if d := p.drained(0); d != 0 {
		t.Errorf("wait after a connection that drains: %v", d)
	}
	for range 20 { // ccs-protocol.md §7: the replacement can be drained too
		if d := p.drained(0); d > drainPause {
			t.Errorf("wait after the next that drains: %v", d)
		}
	}
	if d := p.drained(time.Minute); d != 0 {
		t.Errorf("wait after a stable connection that drains: %v", d)
	}
}

// script is a peer that says one thing and hears all: after its stream headers
// come its words, then a space every 5 s.
type script struct {
	t       *testing.T
	words   string
	refusal string // in place of letting us in
	conns   chan *earshot
	all     []*earshot
}

// earshot is what one connection was told.
type earshot struct {
	mu   sync.Mutex // guards text: the connection may still be talking
	text strings.Builder
}

func (e *earshot) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.Write(p)
}

func (e *earshot) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.String()
}

func newScript(t *testing.T, words string) *script {
	return &script{t: t, words: words, conns: make(chan *earshot, 1000)}
}

func (p *script) dial(context.Context, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	heard := &earshot{}
	p.conns <- heard
	gone := make(chan struct{})
	go func() { // ends with the connection
		defer close(gone)
		buf := make([]byte, 4096)
		for {
			n, err := theirs.Read(buf)
			if err != nil {
				return
			}
			heard.Write(buf[:n])
		}
	}()
	go func() {
		defer theirs.Close()
		const header = `<stream:stream xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams" version="1.0">`
		const features = `<stream:features><mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><mechanism>PLAIN</mechanism></mechanisms></stream:features>`
		if p.refusal != "" {
			if strings.HasPrefix(p.refusal, "<stream:features") {
				io.WriteString(theirs, header+p.refusal)
			} else {
				io.WriteString(theirs, header+features+p.refusal)
			}
			<-gone
			return
		}
		io.WriteString(theirs, header+features+
			`<success xmlns="urn:ietf:params:xml:ns:xmpp-sasl"/>`+header+p.words)
		for {
			select {
			case <-time.After(5 * time.Second):
			case <-gone:
				return
			}
			if _, err := io.WriteString(theirs, " "); err != nil {
				return
			}
		}
	}()
	return ours, nil
}

func (p *script) dials() int {
	for len(p.conns) > 0 {
		p.all = append(p.all, <-p.conns)
	}
	return len(p.all)
}
