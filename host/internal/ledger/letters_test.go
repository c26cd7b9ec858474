package ledger

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// die makes dead letters of all kinds, and returns them as a file has them.
func die(t *testing.T, l *Ledger) []entry.Exported {
	t.Helper()
	unusable := upstream("tokA", "u", `{}`)
	unusable.Raw = json.RawMessage("no JSON \u009b\xff")
	if err := await(t, func(done func(error)) { l.Accept(entry.Inbound{Upstream: unusable, Unusable: "it is no JSON"}, done) }); err != nil {
		t.Fatal(err)
	}
	mustAccept(t, l, "tokA", "1", `{"n": 1.0, "text":"<&>\u200b"}`)
	receipt := &message.Receipt{Session: "main", Device: "tokA", OriginalMessageID: "d-9", Status: "MESSAGE_SENT_TO_DEVICE", Category: "com.example.app", SentAt: time.UnixMilli(1_700_000_000_000)}
	if err := await(t, func(done func(error)) { l.Accept(entry.Inbound{Receipt: receipt, CCSMessageID: "dr2:d-9"}, done) }); err != nil {
		t.Fatal(err)
	}
	if err := updateAs(t, l, "p", entry.Changes{Sends: []entry.Send{send("d-1", `{}`)}}); err != nil {
		t.Fatal(err)
	}
	end := entry.End{Seq: l.Downstreams(0, 1)[0].Seq, Status: message.Failed, Code: "BAD", Description: "why", Attempts: 2}
	if err := await(t, func(done func(error)) { l.Finish(end, done) }); err != nil {
		t.Fatal(err)
	}
	mustSchedule(t, l, schedule("a", time.Now().Add(-time.Second), `{"n":1}`))
	for l.Counts().Events < 4 { // the timer fires
		time.Sleep(time.Millisecond)
	}
	for l.Counts().Events > 0 {
		ev := lease(t, l, 3)
		if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 3, Verdict: entry.Dead, Plugin: "p", Reason: "because of it"}); err != nil {
			t.Fatal(err)
		}
	}
	letters, next, err := l.Export(entry.DeadFilter{}, "", 100, math.MaxInt)
	if err != nil || next != "" || len(letters) != 5 {
		t.Fatalf("%d letters, %q, %v", len(letters), next, err)
	}
	return letters
}

// filed is what letters are after a file.
func filed(t testing.TB, letters []entry.Exported) (read []entry.Exported) {
	t.Helper()
	text, err := json.Marshal(letters)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

// TestDeadLettersMove: what one host exports another has again, whole, and a repeat
// changes nothing. // P0 P8
func TestDeadLettersMove(t *testing.T) {
	from, to := open(t, t.TempDir()), open(t, t.TempDir())
	letters := filed(t, die(t, from))
	did, err := to.Import(entry.Import{Letters: letters, Check: true})
	if err != nil || did.Done != 0 || did.Same != 0 || did.Wrong != nil || to.Counts().Dead != 0 {
		t.Fatalf("checked: %+v, %v, %d", did, err, to.Counts().Dead)
	}
	if did, err = to.Import(entry.Import{Letters: letters}); err != nil || did.Done != 5 || did.Same != 0 {
		t.Fatalf("%+v, %v", did, err)
	}
	to = reopen(t, to)
	for name, l := range map[string]*Ledger{"another host, after a restart": to, "the same host": from} {
		did, err := l.Import(entry.Import{Letters: letters})
		if err != nil || did.Done != 0 || did.Same != 5 || l.Counts().Dead != 5 {
			t.Errorf("again, to %s: %+v, %v, %d letters", name, did, err, l.Counts().Dead)
		}
		got, _, err := l.Export(entry.DeadFilter{}, "", 100, math.MaxInt)
		times := cmp.FilterPath(func(p cmp.Path) bool {
			return p.Last().String() == ".Died" || p.Last().String() == ".Received"
		}, cmp.Comparer(aboutThen))
		if diff := cmp.Diff(letters, filed(t, got), times); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
		verify(t, l)
	}
}

// aboutThen is for times that two clocks made.
func aboutThen(a, b time.Time) bool { return a.Sub(b).Abs() < time.Minute }

// TestImportedLettersReplay: they go in the file's order, and are what they were; what no
// plugin can understand stays that. // P5 P8
func TestImportedLettersReplay(t *testing.T) {
	from, to := open(t, t.TempDir()), open(t, t.TempDir())
	letters := filed(t, die(t, from))
	slices.Reverse(letters)
	if _, err := to.Import(entry.Import{Letters: letters}); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, x := range letters {
		if x.Unusable {
			if _, _, err := to.Replay([]string{x.ID}); err == nil {
				t.Error("an unusable letter was replayed")
			}
			continue
		}
		want = append(want, x.ID)
	}
	ids := slices.Clone(want)
	slices.Sort(ids)
	if n, gone, err := to.Replay(ids); n != 4 || gone != nil || err != nil {
		t.Fatal(n, gone, err)
	}
	var got []string
	for _, ev := range to.Events(0, 10) {
		id, err := to.EventID(ev.Seq)
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, id); ev.Kind == entry.Upstream {
			body, err := to.Body(ev.Seq)
			if want := upstream("tokA", "1", `{"n": 1.0, "text":"<&>\u200b"}`); err != nil || string(body.Upstream.Raw) != string(want.Raw) || string(body.Upstream.Data) != string(want.Data) {
				t.Errorf("%+v, %v", body.Upstream, err)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("replayed as %v, the file has %v", got, want)
	}
	did, err := to.Import(entry.Import{Letters: letters}) // they wait, and are not to come twice
	if err != nil || did.Done != 0 || did.Same != 5 {
		t.Errorf("while they wait: %+v, %v", did, err)
	}
}

// TestWrongLettersAreNamed: one that no export made is named, and nothing of the order is
// imported unless the wrong ones may be left out. // P8 P10
func TestWrongLettersAreNamed(t *testing.T) {
	from, to := open(t, t.TempDir()), open(t, t.TempDir())
	letters := filed(t, die(t, from))
	at := slices.IndexFunc(letters, func(x entry.Exported) bool { return x.Kind == "upstream" && !x.Unusable })
	dead := slices.IndexFunc(letters, func(x entry.Exported) bool { return x.Unusable })
	for reason, spoil := range map[string]func(all []entry.Exported){
		"its event is missing":        func(all []entry.Exported) { all[at].Event = nil },
		"of another version":          func(all []entry.Exported) { all[at].Event[0] = 99 },
		"its event is damaged":        func(all []entry.Exported) { all[at].Event = all[at].Event[:20] },
		"id is another one":           func(all []entry.Exported) { all[at].ID = all[dead].ID },
		"from is another one":         func(all []entry.Exported) { all[at].From = "tokB" },
		"raw is another one":          func(all []entry.Exported) { all[at].Raw = json.RawMessage(`{"data":{"n":2}}`) },
		"sender_id is another one":    func(all []entry.Exported) { all[at].SenderID = "other" },
		"attempts: -1 can't be":       func(all []entry.Exported) { all[at].Attempts = -1 },
		"plugin may have":             func(all []entry.Exported) { all[at].Plugin = strings.Repeat("p", maxName+1) },
		"is too large":                func(all []entry.Exported) { all[at].Event = large(all[at].Event) },
		"texts or numbers that no":    func(all []entry.Exported) { all[at].Event = strange(all[at].Event) },
		"another dead letter with th": nil,
	} {
		bad := filed(t, letters)
		if l := to; spoil == nil { // under an id that it has already
			bad[at].Event = renamed(bad[at].Event)
			bad[at] = reread(t, l, bad[at])
			if did, err := l.Import(entry.Import{Letters: letters[at : at+1]}); err != nil || did.Done != 1 {
				t.Fatal(did, err)
			}
			bad = bad[at : at+1]
		} else {
			spoil(bad)
		}
		had := to.Counts().Dead
		did, err := to.Import(entry.Import{Letters: bad})
		if err != nil || did.Done != 0 || len(did.Wrong) != 1 || !strings.Contains(did.Wrong[0].Reason, reason) || to.Counts().Dead != had {
			t.Errorf("%s: %+v, %v, %d letters", reason, did, err, to.Counts().Dead)
		}
	}
	bad := filed(t, letters)
	bad[at].Event = nil
	if did, err := to.Import(entry.Import{Letters: bad, SkipWrong: true}); err != nil || did.Done != 4 || len(did.Wrong) != 1 || did.Wrong[0].At != at {
		t.Errorf("without the wrong one: %+v, %v", did, err)
	}
	bad = filed(t, letters)
	bad[dead].Unusable = false // a letter would be replayed for ever
	if did, err := from.Import(entry.Import{Letters: bad}); err != nil || len(did.Wrong) != 1 || did.Wrong[0].At != dead {
		t.Errorf("made usable by hand: %+v, %v", did, err)
	}
}

// large is an event with a payload that no commit can hold.
func large(event []byte) []byte {
	r := reader{b: event[exportHead:], format: format}
	e := readEnvelope(&r)
	m := e.body.(*message.Upstream)
	m.Raw = slices.Concat(m.Raw, make([]byte, maxBody+maxEnvelope))
	return append(slices.Clone(event[:exportHead]), appendEnvelope(nil, e)[1:]...)
}

// strange is an event with a category that is too long.
func strange(event []byte) []byte {
	r := reader{b: event[exportHead:], format: format}
	e := readEnvelope(&r)
	e.body.(*message.Upstream).Category = strings.Repeat("c", maxCategory+1)
	return append(slices.Clone(event[:exportHead]), appendEnvelope(nil, e)[1:]...)
}

// renamed is an event with the same id and another message id.
func renamed(event []byte) []byte {
	r := reader{b: event[exportHead:], format: format}
	e := readEnvelope(&r)
	m := e.body.(*message.Upstream)
	m.MessageID = "another"
	return append(slices.Clone(event[:exportHead]), appendEnvelope(nil, e)[1:]...)
}

// reread makes the fields for people those of the event.
func reread(t *testing.T, l *Ledger, x entry.Exported) entry.Exported {
	t.Helper()
	r := reader{b: x.Event[exportHead:], format: format}
	d := dead{event: readEnvelope(&r), reason: x.Reason, plugin: x.Plugin, attempts: uint32(x.Attempts)}
	return filed(t, []entry.Exported{d.export(l.clock, x.Event[exportHead:])})[0]
}

// TestImportNeedsRoom: it is intake, which a full disk ends. // P10
func TestImportNeedsRoom(t *testing.T) {
	letters := filed(t, die(t, open(t, t.TempDir())))
	l := open(t, t.TempDir(), func(o *Options) {
		o.Statfs = func(string) (Space, error) { return Space{Bytes: 600 << 20, Inodes: 1 << 40}, nil }
		o.DiskSoft, o.DiskHard = 1<<30, 1<<20
	})
	did, err := l.Import(entry.Import{Letters: letters})
	wantErr(t, err, entry.ErrFull)
	if did.Done != 0 || l.Counts().Dead != 0 {
		t.Errorf("%+v, %d letters", did, l.Counts().Dead)
	}
}

// TestDeadOfFilters: a page has what the filter selects, and says where to go on.
func TestDeadOfFilters(t *testing.T) {
	l := open(t, t.TempDir())
	for i := range 6 {
		mustAccept(t, l, fmt.Sprint("tok", i%2), fmt.Sprint(i), `{}`)
		ev := lease(t, l, 3)
		if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 3, Verdict: entry.Dead, Plugin: "p", Reason: "because"}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for after, pages := "", 0; ; pages++ {
		letters, next, err := l.DeadOf(entry.DeadFilter{Device: "tok1"}, after, 2)
		if err != nil || pages > 3 {
			t.Fatal(err, pages)
		}
		for _, d := range letters {
			got = append(got, d.MessageID)
		}
		if after = next; after == "" {
			break
		}
	}
	if !slices.Equal(got, []string{"1", "3", "5"}) {
		t.Error(got)
	}
	letters, next, err := l.Export(entry.DeadFilter{}, "", 100, 1) // a page ends by its bytes, too
	if err != nil || len(letters) != 1 || next != letters[0].ID {
		t.Errorf("%d letters, then %q, %v", len(letters), next, err)
	}
}

// FuzzImport: no file makes the ledger fail, and what it takes can be read. // P10
func FuzzImport(f *testing.F) {
	l := open(f, f.TempDir())
	u := upstream("tokA", "1", `{}`)
	e := envelope{body: u}
	f.Add(append([]byte{format, 0}, appendEnvelope(nil, e)[1:]...), "because")
	f.Add([]byte{format, 1, byte(entry.Outcome)}, "")
	late := envelope{body: u} // after the year 9999
	if err := late.id.SetTime(lastMoment + 1); err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte{format, 0}, appendEnvelope(nil, late)[1:]...), "late")
	f.Fuzz(func(t *testing.T, event []byte, reason string) {
		if len(event) < exportHead {
			return
		}
		r := reader{b: event[exportHead:], format: format}
		d := dead{unusable: event[1] == 1, event: readEnvelope(&r), reason: reason}
		if r.done() != nil || !d.event.fits() {
			if did, err := l.Import(entry.Import{Letters: []entry.Exported{{Event: event}}}); err != nil || did.Done != 0 {
				t.Fatal(did, err)
			}
			return
		}
		x := filed(t, []entry.Exported{d.export(l.clock, event[exportHead:])})[0]
		did, err := l.Import(entry.Import{Letters: []entry.Exported{x}, SkipWrong: true})
		if err != nil {
			t.Fatal(err)
		}
		if did.Done == 1 {
			if _, err := l.DeadLetter(x.ID); err != nil {
				t.Fatal(err)
			}
		}
	})
}
