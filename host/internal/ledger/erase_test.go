package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
	"balhost/sdk/message"
)

const (
	phoneA = "cA3xFID_a-1:APA91bErased_phone-000000000000000000000"
	phoneB = "dB7yFID_b-2:APA91bOther_phone-111111111111111111111"
)

// tiny makes files so small that rewriting them takes no time.
func tiny(o *Options) {
	o.Sizes = Sizes{Segment: 5 << 20, Layer: 64 << 10, MemTable: 1 << 20, Rotate: 1 << 20}
}

// watcher lets all events go.
var watcher = Watcher{
	Seen:  func(context.Context) (uint64, error) { return 1 << 60, nil },
	Gone:  func([]entry.Event) {},
	Stage: func(string) {},
}

func erase(t testing.TB, l *Ledger, e entry.Erasure) entry.Erased {
	t.Helper()
	did, err := l.Erase(context.Background(), e, watcher)
	if err != nil {
		t.Fatalf("erase: %v; %+v", err, did)
	}
	return did
}

// livesOf gives each of the devices all that a ledger may have of one, in the same commits.
func livesOf(t testing.TB, l *Ledger, devices ...string) {
	t.Helper()
	var all sync.WaitGroup
	later := func(name string) func(error) {
		all.Add(1)
		return func(err error) {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			all.Done()
		}
	}
	for i := range 12 {
		for n, d := range devices {
			u := upstream(d, fmt.Sprintf("u%d-%d", n, i), fmt.Sprintf(`{"n":"%d","me":%q}`, i, d))
			l.Accept(entry.Inbound{Upstream: u}, later("accept"))
		}
	}
	all.Wait()
	for n, d := range devices {
		dead := upstream(d, fmt.Sprintf("bad%d", n), `{}`)
		l.Accept(entry.Inbound{Upstream: dead, Unusable: "it was made so"}, later("unusable"))
	}
	all.Wait()
	for _, ev := range l.Events(0, 1000) { // the first of each device is handled, the next dies, one waits for another attempt
		body, err := l.Body(ev.Seq)
		if err != nil {
			t.Fatal(err)
		}
		s := entry.Settlement{Seq: ev.Seq, Plugin: "p"}
		n := slices.Index(devices, body.Upstream.From)
		switch body.Upstream.MessageID {
		case fmt.Sprintf("u%d-0", n), fmt.Sprintf("u%d-5", n):
			s.Verdict, s.Changes = entry.Done, deedsOf(n, body.Upstream.From, body.Upstream.MessageID)
		case fmt.Sprintf("u%d-1", n):
			s.Verdict, s.Reason = entry.Dead, "no "+body.Upstream.From+" is known"
		case fmt.Sprintf("u%d-2", n):
			s.Verdict, s.Due, s.Reason = entry.Retry, time.Now().Add(time.Hour), "later for "+body.Upstream.From
		default:
			continue
		}
		l.Settle(s, later("settle"))
	}
	all.Wait()
	for _, d := range l.Downstreams(0, 1000) {
		if strings.HasPrefix(d.MessageID, "acked") {
			l.Finish(entry.End{Seq: d.Seq, Status: message.Acked}, later("finish"))
		}
		if strings.HasPrefix(d.MessageID, "failed") {
			l.Finish(entry.End{Seq: d.Seq, Status: message.Failed, Code: "DEVICE_UNREGISTERED", Gone: true}, later("finish"))
		}
	}
	all.Wait()
	for n, d := range devices {
		l.Accept(entry.Inbound{FromDevice: true, Receipt: &message.Receipt{Session: "main", Device: d, OriginalMessageID: fmt.Sprintf("acked%d-u%d-0", n, n), Status: "READ"}}, later("receipt"))
	}
	all.Wait()
	until := time.Now().Add(time.Minute)
	for l.Counts().Timers > 2*len(devices) && time.Now().Before(until) { // those that are due become events
		time.Sleep(time.Millisecond)
	}
}

// deedsOf are the changes of one handler.
func deedsOf(n int, device, id string) entry.Changes {
	down := func(name string, change func(*message.Checked)) entry.Send {
		m := message.Checked{To: message.Token(device), Session: "main", MessageID: fmt.Sprintf("%s%d-%s", name, n, id), Group: "g", Data: json.RawMessage(`{"to":"` + device + `"}`), Context: json.RawMessage(`{"of":"` + device + `"}`)}
		if change != nil {
			change(&m)
		}
		return entry.Send{Tell: true, Message: m}
	}
	lane := entry.Lane{Kind: entry.Upstream, Hash: entry.DeviceHash("main", device)}
	return entry.Changes{
		Sends: []entry.Send{
			down("acked", nil), down("failed", nil), down("waits", nil),
			down("later", func(m *message.Checked) {
				m.NotBefore = time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
				m.Replace = "r"
			}),
			down("fid", func(m *message.Checked) { m.To = message.FID(strings.Split(device, ":")[0]) }),
			down("topic", func(m *message.Checked) { m.To = message.Topic("news"); m.Data, m.Context = nil, nil }),
		},
		Writes: []entry.Write{
			{Key: "user/" + device, Value: json.RawMessage(`1`)}, {Key: device + ":seen", Value: json.RawMessage(`{"x":1}`)},
			{Key: fmt.Sprintf("account/%d", n), Value: json.RawMessage(fmt.Sprintf(`{"devices":[%q]}`, device))},
			{Key: fmt.Sprintf("plain/%d", n), Value: json.RawMessage(`"nothing"`)},
		},
		Schedules: []entry.Schedule{
			{Key: fmt.Sprint("far", n, id), At: time.Now().Add(time.Hour), Session: "main", Device: device, Lane: lane, Data: json.RawMessage(`{"far":true}`)},
			{Key: fmt.Sprint("soon", n, id), At: time.Now(), Session: "main", Device: device, Lane: lane},
		},
	}
}

// of is all that a reader of the ledger can find, with something in it, as text.
func of(t testing.TB, l *Ledger, has string) (all []string) {
	t.Helper()
	add := func(what string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if text := what + string(b); strings.Contains(text, has) {
			all = append(all, text)
		}
	}
	for _, ev := range l.Events(0, 10_000) {
		body, err := l.Body(ev.Seq)
		if err != nil {
			t.Fatal(err)
		}
		ev.Due = time.Time{} // by today's clock
		add(fmt.Sprintf("event %+v ", ev), body)
	}
	for _, d := range l.Downstreams(0, 10_000) {
		m, err := l.Downstream(d.Seq)
		if err != nil {
			t.Fatal(err)
		}
		d.Due, d.Expires = time.Time{}, time.Time{}
		add(fmt.Sprintf("downstream %+v ", d), m)
	}
	letters, err := l.Dead("", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range letters {
		letter, err := l.DeadLetter(d.ID)
		if err != nil {
			t.Fatal(err)
		}
		letter.Died, letter.Received = time.Time{}, time.Time{}
		add("dead ", letter)
	}
	listing, err := l.List("p", entry.Span{Keys: 10_000, Bytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range listing.Items {
		add("state "+it.Key, it)
	}
	return all
}

// same compares what there is of a device with what there was.
func same(t testing.TB, when string, now, before []string) {
	t.Helper()
	for i := range max(len(now), len(before)) {
		if i >= len(now) || i >= len(before) || now[i] != before[i] {
			t.Errorf("%s: of the other device there are %d things, there were %d; they differ from\n%.700s\n%.700s", when, len(now), len(before), now[min(i, len(now)-1)], before[min(i, len(before)-1)])
			return
		}
	}
}

// filesWith names the files under a folder that have a text.
func filesWith(t testing.TB, dir, text string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) || err == nil && !d.Type().IsRegular() {
			return nil
		} else if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), text) {
			names = append(names, path)
		}
		if errors.Is(err, os.ErrNotExist) { // it got another name
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// All of one device goes, from every file, and all of the other one stays as it was.
func TestErase(t *testing.T) {
	t.Run("plain", func(t *testing.T) { eraseOne(t, tiny) })
	// Here only what is decrypted can prove anything.
	t.Run("encrypted", func(t *testing.T) { eraseOne(t, func(o *Options) { tiny(o); o.Key = testKey }) })
}

func eraseOne(t *testing.T, tiny func(*Options)) {
	l := open(t, t.TempDir(), tiny)
	livesOf(t, l, phoneA, phoneB)
	verify(t, l)
	before, whole := of(t, l, phoneB), erase(t, l, entry.Erasure{Names: []string{phoneA, strings.Split(phoneA, ":")[0]}, Plan: true})
	if len(of(t, l, phoneA)) == 0 || len(before) == 0 || whole.Files == 0 {
		t.Fatal("the test made nothing")
	}
	want := entry.Erased{
		Upstreams: 9, Outcomes: 5, Receipts: 1, Timers: 4, Downstreams: 5, Dead: 2, Summaries: 7, Ended: whole.Ended, Files: whole.Files,
		Keys: []entry.StateKey{{Plugin: "p", Key: "account/0", InValue: true}, {Plugin: "p", Key: phoneA + ":seen"}, {Plugin: "p", Key: "user/" + phoneA}},
	}
	if !reflect.DeepEqual(whole, want) {
		t.Errorf("planned\n%+v\nwant\n%+v", whole, want)
	}
	did := erase(t, l, entry.Erasure{Names: []string{phoneA, strings.Split(phoneA, ":")[0]}, Values: true})
	if want.Proven, want.Files = true, 0; !reflect.DeepEqual(did, want) {
		t.Errorf("erased\n%+v\nwant\n%+v", did, want)
	}
	check := func(when string) {
		t.Helper()
		if left := of(t, l, phoneA); left != nil {
			t.Errorf("%s: there is still\n%s", when, strings.Join(left, "\n"))
		}
		same(t, when, of(t, l, phoneB), before)
		if files := filesWith(t, l.o.Dir, phoneA); files != nil {
			t.Errorf("%s: %v still have it", when, files)
		}
		if n, err := l.files(context.Background(), newMatcher(entry.Erasure{Names: []string{phoneA}})); n > 0 || err != nil {
			t.Errorf("%s: %d files still have it: %v", when, n, err)
		}
		verify(t, l)
	}
	check("after it")
	l = reopen(t, l, tiny)
	check("after a restart")
	again := erase(t, l, entry.Erasure{Names: []string{phoneA}})
	if again.Records() != 0 || again.Keys != nil || again.Files != 0 || !again.Proven {
		t.Errorf("the second time: %+v", again)
	}
	check("after the second time")
	mustAccept(t, l, phoneA, "new", `{}`) // a new message is a new one
	if got := of(t, l, phoneA); len(got) != 1 {
		t.Errorf("of a message that came later there is %v", got)
	}
}

// What others have of a device stays without being asked for, is listed, and is all that is left.
func TestEraseKeepsMentions(t *testing.T) {
	l := open(t, t.TempDir(), tiny)
	longer := phoneA + "0" // begins like it, and is another device
	livesOf(t, l, phoneA, longer)
	mustAccept(t, l, phoneB, "1", `{"friend":"`+phoneA+`"}`)
	before := of(t, l, longer)
	did := erase(t, l, entry.Erasure{Names: []string{phoneA}})
	same(t, "a longer name", of(t, l, longer), before)
	if !did.Proven || did.Files == 0 || len(did.Mentions) == 0 {
		t.Errorf("erased %+v", did)
	}
	value, _, err := l.Get("p", "account/0")
	if err != nil || !strings.Contains(string(value), phoneA) {
		t.Errorf("a value that names the device is %s, %v", value, err)
	}
	if v, _, err := l.Get("p", "user/"+phoneA); err != nil || v != nil {
		t.Errorf("a key that names it is %s, %v", v, err)
	}
	verify(t, l)
}

// What has ended of a device whose name is longer is somebody else's too: it stays, is listed, and
// is no reason to say that the erasure went wrong.
func TestEraseBesideALongerName(t *testing.T) {
	l := open(t, t.TempDir(), tiny)
	mustAccept(t, l, "phone-1", "a", `{}`)
	mustAccept(t, l, "phone-10", "b", `{}`)
	for _, e := range l.Events(0, 9) {
		if err := settleAs(t, l, entry.Settlement{Seq: e.Seq, Verdict: entry.Done, Plugin: "p"}); err != nil {
			t.Fatal(err)
		}
	}
	did := erase(t, l, entry.Erasure{Names: []string{"phone-1"}})
	if want := []entry.Mention{{What: "ended message", ID: "b"}}; !did.Proven || did.Summaries != 1 || !slices.Equal(did.Mentions, want) {
		t.Errorf("erased %+v", did)
	}
	verify(t, l)
}

// Bytes that mean something in keys, in JSON or in patterns are only bytes of a name.
func TestEraseOddNames(t *testing.T) {
	for _, name := range []string{"a\x00b-odd", `quo"te\odd`, "<odd>&", "日本-odd", "%2F..odd/", strings.Repeat("long", 900)} {
		t.Run(fmt.Sprintf("%.10q", name), func(t *testing.T) {
			l := open(t, t.TempDir(), tiny)
			text, err := json.Marshal(name)
			if err != nil {
				t.Fatal(err)
			}
			u := upstream(name, "1", `{"me":`+string(text)+`}`)
			if err := await(t, func(done func(error)) { l.Accept(entry.Inbound{Upstream: u}, done) }); err != nil {
				t.Fatal(err)
			}
			mustAccept(t, l, phoneB, "1", `{}`)
			writes := []entry.Write{{Key: "v", Value: json.RawMessage(`{"d":` + string(text) + `}`)}}
			if len(name) < 1000 {
				writes = append(writes, entry.Write{Key: "k/" + name, Value: json.RawMessage("1")})
			}
			if err := updateAs(t, l, "p", entry.Changes{Writes: writes}); err != nil {
				t.Fatal(err)
			}
			did := erase(t, l, entry.Erasure{Names: []string{name}, Values: true})
			if did.Upstreams != 1 || len(did.Keys) != len(writes) || !did.Proven || did.Files != 0 {
				t.Errorf("erased %+v", did)
			}
			if n := len(l.Events(0, 10)); n != 1 {
				t.Errorf("%d events are left, want the other device's", n)
			}
			verify(t, l)
		})
	}
}

// A device that nobody knows is no error, and is proven not to be there.
func TestEraseUnknown(t *testing.T) {
	l := open(t, t.TempDir(), tiny)
	mustAccept(t, l, phoneB, "1", `{}`)
	commit := l.tally.commit
	did := erase(t, l, entry.Erasure{Names: []string{phoneA}})
	if did.Records() != 0 || did.Files != 0 || !did.Proven {
		t.Errorf("erased %+v", did)
	}
	if l.tally.commit != commit {
		t.Errorf("it made %d commits", l.tally.commit-commit)
	}
}

// Only one session's are erased, if only those are meant.
func TestEraseOfOneSession(t *testing.T) {
	l := open(t, t.TempDir(), tiny)
	mustAccept(t, l, phoneA, "1", `{}`)
	other := upstream(phoneA, "1", `{}`)
	other.Session = "other"
	if err := await(t, func(done func(error)) { l.Accept(entry.Inbound{Upstream: other}, done) }); err != nil {
		t.Fatal(err)
	}
	did := erase(t, l, entry.Erasure{Names: []string{phoneA}, Session: "main"})
	if left := l.Events(0, 10); did.Upstreams != 1 || len(left) != 1 || left[0].Session != "other" {
		t.Errorf("erased %+v, left %+v", did, left)
	}
}

// An event that a handler has is waited for; who hands out events hears of the others, and of none
// that it does not know yet.
func TestEraseWaitsForHandlers(t *testing.T) {
	l := open(t, t.TempDir(), tiny)
	for i := range 3 {
		mustAccept(t, l, phoneA, fmt.Sprint(i), `{}`)
	}
	held := l.Events(0, 3)[1]
	l.Lease(held.Seq, 7)
	var gone []uint64
	w := watcher
	w.Gone = func(all []entry.Event) {
		for _, ev := range all {
			gone = append(gone, ev.Seq)
		}
	}
	w.Stage = func(what string) {
		if what == "waiting for a handler" {
			sends := []entry.Send{{Message: message.Checked{To: message.Token(phoneA), Session: "main", MessageID: "d", Data: json.RawMessage(`{}`)}}}
			l.Settle(entry.Settlement{Seq: held.Seq, Lease: 7, Verdict: entry.Done, Plugin: "p", Changes: entry.Changes{Sends: sends}}, func(err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	if did, err := l.Erase(context.Background(), entry.Erasure{Names: []string{phoneA}}, w); err != nil || !did.Proven || len(gone) != 2 {
		t.Errorf("erased %+v, gone %v, %v", did, gone, err)
	}
	if n := len(of(t, l, phoneA)); n != 0 {
		t.Errorf("%d are left of it, though its handler made a downstream meanwhile", n)
	}
	verify(t, l)
	mustAccept(t, l, phoneA, "later", `{}`)
	w.Seen = func(context.Context) (uint64, error) { return held.Seq, nil }
	if _, err := l.Erase(context.Background(), entry.Erasure{Names: []string{phoneA}}, w); err == nil {
		t.Error("an event was erased that nobody knew of")
	}
}

// What an erased downstream was sent for comes to nothing: its ack finds it no more, and its id may be used again.
func TestErasedDownstream(t *testing.T) {
	l := open(t, t.TempDir(), tiny)
	one := entry.Send{Tell: true, Message: message.Checked{To: message.Token(phoneA), Session: "main", MessageID: "d", Data: json.RawMessage(`{}`), Replace: "r"}}
	mustSend(t, l, "p", one)
	d := l.Downstreams(0, 1)[0]
	if _, err := l.Take(d.Seq); err != nil {
		t.Fatal(err)
	}
	if did := erase(t, l, entry.Erasure{Names: []string{phoneA}}); did.Downstreams != 1 {
		t.Errorf("erased %+v", did)
	}
	wantErr(t, await(t, func(done func(error)) { l.Finish(entry.End{Seq: d.Seq, Status: message.Acked}, done) }), entry.ErrUnknown)
	if got := l.Canceled(); !slices.Equal(got, []uint64{d.Seq}) {
		t.Errorf("the outbox hears of %v", got)
	}
	c := l.Counts()
	if c.Canceled != 1 || c.Downstreams != 0 || c.Events != 0 {
		t.Errorf("counts %+v", c)
	}
	mustSend(t, l, "p", one)
	if n := l.Counts().Downstreams; n != 1 {
		t.Errorf("%d downstreams with the same id", n)
	}
	verify(t, l)
}

// While somebody reads the ledger as it was, it can't be proven; afterwards it can.
func TestEraseWhileBackedUp(t *testing.T) {
	l := open(t, t.TempDir(), tiny)
	livesOf(t, l, phoneA)
	e := entry.Erasure{Names: []string{phoneA, strings.Split(phoneA, ":")[0]}, Values: true}
	err := l.state.Moment(func(*state.Moment) error {
		_, err := l.Erase(context.Background(), e, watcher)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "being read") {
		t.Errorf("while it is read: %v", err)
	}
	if did := erase(t, l, e); !did.Proven || did.Files != 0 {
		t.Errorf("erased %+v", did)
	}
	verify(t, l)
}

// One erasure at a time.
func TestEraseAlone(t *testing.T) {
	l := open(t, t.TempDir(), tiny)
	w := watcher
	w.Stage = func(string) {
		_, err := l.Erase(context.Background(), entry.Erasure{Names: []string{phoneB}}, watcher)
		wantErr(t, err, ErrErasing)
	}
	if _, err := l.Erase(context.Background(), entry.Erasure{Names: []string{phoneA}}, w); err != nil {
		t.Error(err)
	}
	stopped, stop := context.WithCancel(context.Background())
	stop()
	if _, err := l.Erase(stopped, entry.Erasure{Names: []string{phoneA}}, watcher); !errors.Is(err, context.Canceled) {
		t.Errorf("after its caller went: %v", err)
	}
}
