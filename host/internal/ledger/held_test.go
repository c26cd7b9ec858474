package ledger

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// gatekeeper holds the committer inside a commit, so that what comes meanwhile
// is one batch.
type gatekeeper struct {
	l       *Ledger
	entered chan struct{}
	leave   chan struct{}
	armed   bool // the committer's, set before a commit is asked for
}

func (g *gatekeeper) options(o *Options) {
	g.entered, g.leave = make(chan struct{}), make(chan struct{})
	o.Commit = func(commit func() error) error {
		if g.armed {
			g.armed = false
			g.entered <- struct{}{}
			<-g.leave
		}
		return commit()
	}
}

// shut holds the next batch, of an operation that changes nothing that counts.
func (g *gatekeeper) shut() {
	g.l.put(&arm{g}, nil)
	<-g.entered
}

func (g *gatekeeper) open() { g.leave <- struct{}{} }

// arm is the operation whose commit is held.
type arm struct{ g *gatekeeper }

func (o *arm) weigh() (bytes, records int) { return recordExtra, 1 }

func (o *arm) apply(b *batch) error {
	o.g.armed = true
	return (&setOwner{category: "gate", plugin: "gate"}).apply(b)
}

// batchOf commits operations in one batch and returns what each was told.
func (g *gatekeeper) batchOf(ops ...op) []error {
	g.shut()
	type answer struct {
		n   int
		err error
	}
	answers := make(chan answer, len(ops))
	for n, o := range ops {
		g.l.put(o, func(err error) { answers <- answer{n, err} })
	}
	g.open()
	errs := make([]error, len(ops))
	for range ops {
		a := <-answers
		errs[a.n] = a.err
	}
	return errs
}

func (g *gatekeeper) must(t *testing.T, ops ...op) {
	t.Helper()
	for _, err := range g.batchOf(ops...) {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func openHeld(t *testing.T) *gatekeeper {
	g := &gatekeeper{}
	g.l = open(t, t.TempDir(), g.options)
	return g
}

// fill sends so much that a batch's room is large and written over. It leaves nothing pending.
func (g *gatekeeper) fill(t testing.TB, id string) {
	t.Helper()
	mustAccept(t, g.l, "big", id, fmt.Sprintf(`{"x":%q}`, strings.Repeat("#", 700<<10)))
	events := g.l.Events(0, 1000)
	ev := events[len(events)-1]
	if err := settleAs(t, g.l, entry.Settlement{Seq: ev.Seq, Verdict: entry.Done, Plugin: "p"}); err != nil {
		t.Fatal(err)
	}
}

// TestOutcomeKeepsItsBytes: what is told of a downstream whose page the same
// batch has written anew is its own, whatever comes after. // P4
func TestOutcomeKeepsItsBytes(t *testing.T) {
	g := openHeld(t)
	g.l.sent.limit = 1 // no body is cached, as after a restart
	g.fill(t, "before")
	var sends []entry.Send
	for i := range 4 {
		s := send(fmt.Sprint("d-", i), `{"a":"b"}`)
		s.Message.Context = json.RawMessage(fmt.Sprintf(`{"context":"of %d"}`, i))
		sends = append(sends, s)
	}
	if err := updateAs(t, g.l, "p", entry.Changes{Sends: sends}); err != nil {
		t.Fatal(err)
	}
	downs := g.l.Downstreams(0, 10)
	for _, d := range downs[:2] {
		if err := await(t, func(done func(error)) { g.l.Finish(entry.End{Seq: d.Seq, Status: message.Acked}, done) }); err != nil {
			t.Fatal(err)
		}
	}
	g.must(t,
		&squeeze{kind: kindDownstream, before: 1 << 60},
		&finish{entry.End{Seq: downs[2].Seq, Status: message.Acked}, g.l},
	)
	told := g.l.Events(0, 10)
	g.fill(t, "after")
	body, err := g.l.Body(told[len(told)-1].Seq)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(body.Outcome.Context); got != `{"context":"of 2"}` {
		t.Errorf("the outcome's context is %.80q", got)
	}
}

// TestReplayKeepsItsBytes: so is a message that died and was replayed in one batch. // P8
func TestReplayKeepsItsBytes(t *testing.T) {
	g := openHeld(t)
	g.fill(t, "before")
	mustAccept(t, g.l, "tokA", "1", `{"mine":"alone"}`)
	ev := lease(t, g.l, 7)
	body, err := g.l.Body(ev.Seq)
	if err != nil {
		t.Fatal(err)
	}
	id, err := ulid.ParseStrict(body.Upstream.ID)
	if err != nil {
		t.Fatal(err)
	}
	g.must(t,
		&settle{Settlement: entry.Settlement{Seq: ev.Seq, Lease: 7, Verdict: entry.Dead, Plugin: "p", Reason: "because"}, l: g.l},
		&replay{&deadOp{ids: []ulid.ULID{id}, bytes: 1 << 10}},
	)
	again := g.l.Events(0, 10)
	g.fill(t, "after")
	body, err = g.l.Body(again[0].Seq)
	if err != nil {
		t.Fatal(err)
	}
	if u := body.Upstream; string(u.Data) != `{"mine":"alone"}` || string(u.Raw) != string(upstream("tokA", "1", `{"mine":"alone"}`).Raw) {
		t.Errorf("the replayed message is %.80q, its data %.80q", u.Raw, u.Data)
	}
}

// TestDeadLetterGivesItsBytes: what was kept can be read as it came, be it UTF-8 or not. // P8
func TestDeadLetterGivesItsBytes(t *testing.T) {
	l := open(t, t.TempDir())
	for i, raw := range []string{`{"data":{"k":"v"}}`, `{"data":"Zo` + "\xeb" + `"}`, "no JSON \u009b", "\xff\xfe"} {
		u := upstream("tokA", fmt.Sprint(i), `{}`)
		u.Raw = json.RawMessage(raw)
		if err := await(t, func(done func(error)) { l.Accept(entry.Inbound{Upstream: u, Unusable: "because"}, done) }); err != nil {
			t.Fatal(err)
		}
		letters, err := l.Dead("", 10)
		if err != nil || len(letters) != i+1 {
			t.Fatalf("%d letters, %v", len(letters), err)
		}
		letter, err := l.DeadLetter(letters[i].ID)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(letter)
		if err != nil {
			t.Fatal(err)
		}
		var back entry.DeadLetter
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if got := string(back.Raw) + back.RawText; got != raw && string(back.RawBytes) != raw {
			t.Errorf("%q came back as %q", raw, got)
		}
	}
}
