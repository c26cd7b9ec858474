package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// absenceOf is of a plugin that is gone, while nobody else claims anything.
func absenceOf(l *Ledger) Absence {
	return Absence{
		Watcher: watcher,
		Owners:  func(context.Context) (func(string) string, error) { return l.Owner, nil },
		Still:   func(context.Context) error { return nil },
	}
}

func forgetAs(t testing.TB, l *Ledger, f entry.Forgetting) entry.Forgotten {
	t.Helper()
	did, err := l.Forget(context.Background(), f, absenceOf(l))
	if err != nil {
		t.Fatalf("forget: %v; %+v", err, did)
	}
	return did
}

// twoShops gives the plugins shop and other the same: each has owned two categories.
func twoShops(t testing.TB, l *Ledger, upstreams int) {
	t.Helper()
	for _, p := range []string{"shop", "other"} {
		for _, category := range []string{"com." + p, "com.too." + p} {
			if err := await(t, func(done func(error)) { l.SetOwner(category, p, done) }); err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for i := range upstreams {
				all.Add(1)
				acceptOf(l, category, fmt.Sprint(i), func(error) { all.Done() })
			}
			all.Wait()
		}
		id := func(name string) string { return p + "-" + name }
		c := entry.Changes{Sends: []entry.Send{send(id("acked"), `{}`), send(id("waits"), `{}`), send(id("later"), `{}`)}}
		for _, key := range []string{"a", "b", "c"} {
			c.Writes = append(c.Writes, entry.Write{Key: key, Value: json.RawMessage(`1`)})
			c.Schedules = append(c.Schedules, entry.Schedule{Key: key, Session: "main", At: time.Now().Add(time.Hour), Data: json.RawMessage(`2`)})
		}
		c.Schedules = append(c.Schedules, entry.Schedule{Key: "now", Session: "main", At: time.Now(), Lane: entry.Lane{Kind: entry.Timer}})
		for i := range c.Schedules {
			c.Schedules[i].Lane = entry.Lane{Kind: entry.Timer}
		}
		if err := updateAs(t, l, p, c); err != nil {
			t.Fatal(err)
		}
		finishAs(t, l, id("acked"))
		receiptOf(t, l, id("acked"), "1")
	}
	for until := time.Now().Add(time.Minute); l.Counts().Timers > 6 && time.Now().Before(until); { // those that are due become events
		time.Sleep(time.Millisecond)
	}
	for _, ev := range l.Events(0, 10_000) { // of each category one dies and one waits for another attempt
		body, err := l.Body(ev.Seq)
		if err != nil {
			t.Fatal(err)
		}
		s := entry.Settlement{Seq: ev.Seq, Plugin: ev.Category[strings.LastIndexByte(ev.Category, '.')+1:], Reason: "it is so"}
		switch u := body.Upstream; {
		case u != nil && u.MessageID == "0":
			s.Verdict = entry.Dead
		case u != nil && u.MessageID == "1":
			s.Verdict, s.Due = entry.Retry, time.Now().Add(time.Hour)
		default:
			continue
		}
		if err := settleAs(t, l, s); err != nil {
			t.Fatal(err)
		}
	}
}

func acceptOf(l *Ledger, category, id string, done func(error)) {
	u := upstream("phone of "+category, id, `{"n":1}`)
	u.Category, u.Raw = category, json.RawMessage(strings.Replace(string(u.Raw), "com.example.app", category, 1))
	l.Accept(entry.Inbound{Upstream: u}, done)
}

func finishAs(t testing.TB, l *Ledger, id string) {
	t.Helper()
	seq, err := l.SentSeq("main", id)
	if err == nil {
		err = await(t, func(done func(error)) { l.Finish(entry.End{Seq: seq, Status: message.Acked, Attempts: 1}, done) })
	}
	if err != nil {
		t.Fatalf("finish %s: %v", id, err)
	}
}

func receiptOf(t testing.TB, l *Ledger, id, number string) {
	t.Helper()
	r := &message.Receipt{Session: "main", Device: "tokA", OriginalMessageID: id, Status: "MESSAGE_SENT_TO_DEVICE", Category: "com.nobody"}
	if err := await(t, func(done func(error)) {
		l.Accept(entry.Inbound{Receipt: r, CCSMessageID: "dr2:" + id + number}, done)
	}); err != nil {
		t.Fatal(err)
	}
}

// having is what a person can find of a plugin, without times and ids.
func having(t testing.TB, l *Ledger, plugin string) (all []string) {
	t.Helper()
	for _, ev := range l.Events(0, 100_000) {
		if ev.Plugin == plugin || ev.Plugin == "" && l.Owner(ev.Category) == plugin {
			all = append(all, fmt.Sprintf("%v %s, attempts %d", ev.Kind, ev.Category, ev.Attempts))
		}
	}
	for _, d := range l.Downstreams(0, 100_000) {
		if d.Owner == plugin {
			all = append(all, "downstream "+d.MessageID)
		}
	}
	letters, err := l.Dead("", 100_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range letters {
		if d.Plugin == plugin {
			all = append(all, fmt.Sprintf("dead %s %s%s, attempts %d: %s", d.Kind, d.Category, d.Key, d.Attempts, d.Reason))
		}
	}
	owners, err := l.StateOwners("")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range owners.Owners {
		if o.Plugin == plugin {
			all = append(all, fmt.Sprintf("%d keys", o.Keys))
		}
	}
	all = append(all, l.categoriesOf(plugin)...)
	slices.Sort(all)
	return all
}

// What waits for a forgotten plugin becomes dead letters, or is deleted, as a person wants; all
// of another plugin stays as it is. // P8
func TestForget(t *testing.T) {
	const n = 400 // of each category: more than one operation takes
	shop := entry.Forgotten{
		Upstreams: 2 * (n - 1), Outcomes: 1, Receipts: 1, Timers: 4, Dead: 2, Downstreams: 2, StateKeys: 3,
		Categories: []string{"com.shop", "com.too.shop"},
	}
	for name, f := range map[string]entry.Forgetting{
		"dead letters": {}, "state": {State: true}, "delete": {Delete: true}, "all": {Delete: true, State: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, t.TempDir())
			l.events.limit = 64 << 10 // most is on the disk alone
			twoShops(t, l, n)
			other, was := having(t, l, "other"), having(t, l, "shop")
			f.Plugin, f.Plan = "shop", true
			plan := forgetAs(t, l, f)
			if shop.StateBytes = plan.StateBytes; !reflect.DeepEqual(plan, shop) || plan.StateBytes == 0 {
				t.Errorf("the plan is\n%+v, should be\n%+v", plan, shop)
			}
			if now := having(t, l, "shop"); !slices.Equal(now, was) {
				t.Error("the plan has changed something")
			}
			f.Plan = false
			did, want := forgetAs(t, l, f), shop
			if want.Moved = shop.Waiting(); f.Delete {
				want.Moved, want.Deleted, want.DeadDeleted = 0, shop.Waiting(), 2
			}
			if f.State {
				want.KeysDeleted = 3
			}
			if !reflect.DeepEqual(did, want) {
				t.Errorf("it did\n%+v, should have done\n%+v", did, want)
			}
			left := []string{"downstream shop-later", "downstream shop-waits"}
			if !f.State {
				left = append(left, "3 keys")
			}
			if !f.Delete {
				left = append(left, "dead upstream com.shop, attempts 1: it is so", "dead upstream com.too.shop, attempts 1: it is so",
					"dead outcome , attempts 0: plugin forgotten", "dead receipt com.nobody, attempts 0: plugin forgotten",
					"dead upstream com.shop, attempts 1: plugin forgotten", "dead upstream com.too.shop, attempts 1: plugin forgotten")
				for _, key := range []string{"a", "b", "c", "now"} {
					left = append(left, "dead timer "+key+", attempts 0: plugin forgotten")
				}
				for range n - 2 {
					left = append(left, "dead upstream com.shop, attempts 0: plugin forgotten", "dead upstream com.too.shop, attempts 0: plugin forgotten")
				}
			}
			slices.Sort(left)
			if now := having(t, l, "shop"); !slices.Equal(now, left) {
				t.Errorf("of shop there are %d things left, should be %d:\n%.2000s", len(now), len(left), strings.Join(now, "\n"))
			}
			if now := having(t, l, "other"); !slices.Equal(now, other) {
				t.Errorf("other has %d things now, had %d", len(now), len(other))
			}
			verify(t, l)
			verify(t, reopen(t, l))
		})
	}
}

// What a forgotten plugin had sent ends without an event, and a search tells why. A new
// plugin of its name hears of what it sends itself, over restarts too. // P4
func TestForgottenIsUntold(t *testing.T) {
	l := open(t, t.TempDir())
	twoShops(t, l, 2)
	forgetAs(t, l, entry.Forgetting{Plugin: "shop", Delete: true})
	was := len(l.Events(0, 1000))
	pending := func(when string, want int) {
		t.Helper()
		if n := len(l.Events(0, 1000)) - was; n != want {
			t.Errorf("%s: %d more events, should be %d", when, n, want)
		}
	}
	life := func(id string) (found entry.Trace) {
		t.Helper()
		seq, err := l.SentSeq("main", id)
		if err != nil {
			t.Fatal(err)
		}
		if found, err = l.PendingTrace(true, seq); err == nil {
			return found
		}
		if _, err := l.EndedSince(time.Now().Add(-time.Hour), func(t *entry.Trace) bool {
			if t.Kind == 0 && t.Seq == seq {
				found = t.Own()
			}
			return found.ID == ""
		}); err != nil {
			t.Fatal(err)
		}
		return found
	}
	if before := life("shop-acked"); !before.Forgotten.IsZero() || !before.Told {
		t.Errorf("one that had ended before: %+v", before)
	}
	if waits := life("shop-waits"); waits.Forgotten.IsZero() || waits.Told {
		t.Errorf("one on its way: %+v", waits)
	}
	finishAs(t, l, "shop-waits")
	pending("an outcome", 0)
	if ended := life("shop-waits"); ended.Forgotten.IsZero() || ended.Told || ended.State != entry.StateAcked {
		t.Errorf("one that has ended since: %+v", ended)
	}
	l = reopen(t, l)
	finishAs(t, l, "shop-later")
	pending("an outcome after a restart", 0)
	receiptOf(t, l, "shop-acked", "2")
	pending("a receipt", 0)
	if c := l.Counts(); c.Untold != 2 { // since the start
		t.Errorf("%d were not told, should be 2", c.Untold)
	}
	receipts := 0
	if _, err := l.EndedSince(time.Now().Add(-time.Hour), func(t *entry.Trace) bool {
		if t.Kind == entry.Receipt && t.State == entry.StateCanceled && t.Error == entry.ForgottenReason && t.Plugin == "shop" {
			receipts++
		}
		return true
	}); err != nil || receipts != 1 {
		t.Errorf("%d receipts are told of, should be 1; %v", receipts, err)
	}
	finishAs(t, l, "other-waits")
	pending("another's outcome", 1)
	if err := updateAs(t, l, "shop", entry.Changes{Sends: []entry.Send{send("anew", `{}`)}}); err != nil {
		t.Fatal(err)
	}
	finishAs(t, l, "anew")
	pending("an outcome of the new plugin's", 2)
	receiptOf(t, l, "anew", "1")
	pending("a receipt of the new plugin's", 3)
	verify(t, l)
}

// A host that dies at any commit of a forgetting, and again and again, has it done by the one
// that repeats it. Nothing is lost and nothing is there twice. // P8
func TestForgetGoesOn(t *testing.T) {
	const n = 300
	for _, f := range []entry.Forgetting{{Plugin: "shop"}, {Plugin: "shop", Delete: true, State: true}} {
		l := open(t, t.TempDir(), tiny)
		twoShops(t, l, n)
		other := having(t, l, "other")
		rounds := 0
		for done := false; !done; rounds++ {
			if rounds > 50 {
				t.Fatal("it does not come to an end")
			}
			l = reopenDead(t, l)
			left := 2 // of commits: it notes the plugin, and does one thing
			disk := l.append
			l.append = func(commit uint64, frame []byte) error {
				if left--; left < 0 {
					return errors.New("the power is off")
				}
				return disk(commit, frame)
			}
			_, err := l.Forget(context.Background(), f, absenceOf(l))
			done = err == nil
		}
		if rounds < 5 {
			t.Errorf("it was done in %d rounds: it was not interrupted", rounds)
		}
		l = reopenDead(t, l)
		letters, err := l.Dead("", 100_000)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		for _, d := range letters {
			if d.Plugin == "shop" {
				seen[d.Kind+" "+d.Category+" "+d.Key+d.MessageID]++
			}
		}
		want := 2*n + 6 // upstreams, those that died before, outcome, receipt, timers
		if f.Delete {
			want = 0
		}
		if len(seen) != want {
			t.Errorf("%d dead letters, should be %d", len(seen), want)
		}
		for what, times := range seen {
			if times != 1 {
				t.Errorf("%s is there %d times", what, times)
			}
		}
		if now := having(t, l, "other"); !slices.Equal(now, other) {
			t.Errorf("other has %d things now, had %d", len(now), len(other))
		}
		if left := forgetAs(t, l, entry.Forgetting{Plugin: "shop", Plan: true}); left.Waiting() != 0 || len(left.Categories) != 0 {
			t.Errorf("there is left %+v", left)
		}
		verify(t, l)
	}
}

// reopenDead opens a ledger again, however it ended.
func reopenDead(t testing.TB, l *Ledger) *Ledger {
	t.Helper()
	_ = l.Close() // it may be poisoned
	return open(t, l.o.Dir, tiny, func(o *Options) { o.Poison = func(error) {} })
}

// A plugin that comes back while it is forgotten keeps what is left.
func TestForgetEndsWhenItIsBack(t *testing.T) {
	l := open(t, t.TempDir())
	twoShops(t, l, 400)
	back, asked := errors.New("it is back"), 0
	a := absenceOf(l)
	a.Still = func(context.Context) error {
		if asked++; asked > 3 {
			return back
		}
		return nil
	}
	did, err := l.Forget(context.Background(), entry.Forgetting{Plugin: "shop"}, a)
	if !errors.Is(err, back) || did.Moved == 0 {
		t.Errorf("%v; %+v", err, did)
	}
	if want := fmt.Sprintf("after %d became dead letters", did.Moved); !strings.Contains(err.Error(), want) {
		t.Errorf("%v: it does not say %q", err, want)
	}
	left := forgetAs(t, l, entry.Forgetting{Plugin: "shop", Plan: true})
	if left.Waiting() != did.Waiting()-did.Moved || len(left.Categories) != 2 {
		t.Errorf("left is %+v of %+v", left, did)
	}
	verify(t, l)
}

// An upstream that comes while its plugin is forgotten waits, as one of any category without a
// plugin does; and what a handler has, since another plugin claims it now, is its.
func TestForgetTakesNoOthers(t *testing.T) {
	l := open(t, t.TempDir())
	twoShops(t, l, 3)
	a := absenceOf(l)
	asked := 0
	a.Stage = func(what string) { // the first is that it looks
		if strings.HasPrefix(what, "making") {
			if err := await(t, func(done func(error)) { acceptOf(l, "com.shop", "early", done) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	a.Owners = func(context.Context) (func(string) string, error) {
		if asked++; asked == 2 { // the second time it begins to take them
			if err := await(t, func(done func(error)) { acceptOf(l, "com.shop", "late", done) }); err != nil {
				t.Fatal(err)
			}
			for _, ev := range l.Events(0, 1000) {
				if ev.Category == "com.too.shop" {
					l.Lease(ev.Seq, 7)
				}
			}
		}
		return l.Owner, nil
	}
	if _, err := l.Forget(context.Background(), entry.Forgetting{Plugin: "shop"}, a); err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, ev := range l.Events(0, 1000) {
		if strings.HasSuffix(ev.Category, "shop") {
			left = append(left, ev.Category)
		}
	}
	if want := []string{"com.too.shop", "com.too.shop", "com.shop", "com.shop"}; !slices.Equal(left, want) {
		t.Errorf("left are %q, should be %q", left, want)
	}
	if owner := l.Owner("com.shop"); owner != "" {
		t.Errorf("com.shop belongs to %q", owner)
	}
	verify(t, l)
}

// Nobody forgets the host itself, nor what is nobody's; that is no change.
func TestForgetUnknown(t *testing.T) {
	l := open(t, t.TempDir())
	for _, name := range []string{"", "~dispatch", "a\x00b", strings.Repeat("x", maxName+1)} {
		_, err := l.Forget(context.Background(), entry.Forgetting{Plugin: name}, absenceOf(l))
		wantErr(t, err, entry.ErrUnknown)
	}
	commits := l.lastSeq()
	if did := forgetAs(t, l, entry.Forgetting{Plugin: "nobody"}); did.Any() || l.lastSeq() != commits {
		t.Errorf("%+v", did)
	}
}

// While a large backlog is forgotten, other messages are stored as before, and memory doesn't
// grow with it. // P10
func TestForgetLargeBacklog(t *testing.T) {
	n := 30_000
	if testing.Short() {
		n = 5_000
	}
	l := open(t, t.TempDir(), func(o *Options) { o.Light = true })
	if err := await(t, func(done func(error)) { l.SetOwner("com.shop", "shop", done) }); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		acceptOf(l, "com.shop", fmt.Sprint(i), nil)
	}
	mustAccept(t, l, "last", "last", `{}`)
	before := heapNow()
	stop, slowest, stored := make(chan struct{}), time.Duration(0), 0
	var others sync.WaitGroup
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			began := time.Now()
			mustAccept(t, l, "other", fmt.Sprint("o", stored), `{}`)
			stored, slowest = stored+1, max(slowest, time.Since(began))
		}
	})
	most := before
	a := absenceOf(l)
	portions := 0
	a.Gone = func([]entry.Event) {
		if portions++; portions%200 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
	began := time.Now()
	did, err := l.Forget(context.Background(), entry.Forgetting{Plugin: "shop"}, a)
	close(stop)
	others.Wait()
	if err != nil || did.Moved != n {
		t.Fatalf("%v; %+v", err, did)
	}
	t.Logf("%d events in %s; %d others stored, the slowest in %s; heap %d MiB before, %d MiB at most, garbage included",
		n, time.Since(began).Round(time.Millisecond), stored, slowest, before>>20, most>>20)
	if stored == 0 || most > before+(200<<20) {
		t.Errorf("%d others were stored; the heap grew from %d to %d MiB", stored, before>>20, most>>20)
	}
	runtime.KeepAlive(l)
}
