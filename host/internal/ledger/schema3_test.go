package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
	"balhost/sdk/message"
)

// atSchema3 is the clock of the last program with schema 3, ten seconds after it was
// killed.
func atSchema3(o *Options) {
	o.Now = func() time.Time { return time.UnixMilli(1_790_000_010_000) }
}

// schema3Sent are the downstreams that the ledger of schema 3 has pending.
func schema3Sent() []message.Checked {
	return []message.Checked{
		{
			To: message.Token("tokA"), MessageID: "d-0", Session: "main", Group: "g", Context: json.RawMessage(`[1]`),
			Data: json.RawMessage(`{"k":"v"}`), Notification: json.RawMessage(`{"title":"t"}`),
			Options: message.Options{TTL: message.TTL(time.Hour), Priority: "high", CollapseKey: "c", DryRun: true, ReceiptRequested: true, ContentAvailable: true, MutableContent: true},
		},
		{To: message.Topic("news"), MessageID: "d-1", Session: "main"},
		{To: message.Condition("'a' in topics"), MessageID: "d-2", Session: "main"},
		{To: message.Token("tokB"), MessageID: "d-3", Session: "main", Options: message.Options{TTL: message.TTL(0)}},
		{To: message.Token("tokA"), MessageID: "d-7", Session: "main", Group: "g", Data: json.RawMessage(`{"k":"7"}`)},
	}
}

// TestUpgradeFromSchema3: what was pending is pending, byte for byte, and it is known
// when it is sent again. The outcomes are as they were. It holds for a folder that a
// killed process left, with commits in tables and in the journal, and for a backup.
// // P0 P4 P6 P8
func TestUpgradeFromSchema3(t *testing.T) {
	file, err := os.ReadFile("testdata/schema3.bak")
	if err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"folder": unpack(t, "testdata/schema3.tar.gz"), "backup": mustRestore(t, file)} {
		t.Run(name, func(t *testing.T) {
			l := open(t, dir, atSchema3)
			if found, err := state.Schema(l.o.db()); err != nil || found != schema {
				t.Fatalf("schema %d, %v", found, err)
			}
			for range 2 {
				schema3Holds(t, l)
				verify(t, l)
				l = reopen(t, l, atSchema3)
			}
			schema3Again(t, l)
			schema3Replayed(t, l)
			verify(t, l)
		})
	}
}

func schema3Holds(t *testing.T, l *Ledger) {
	t.Helper()
	c := l.Counts()
	if c.Sent != 9 || c.Acked != 1 || c.Failed != 2 || c.Expired != 1 || c.Downstreams != 5 || c.Events != 4 || c.Died != 1 || c.Dead != 1 || c.Accepted != 1 {
		t.Errorf("counts %+v", c)
	}
	if a := l.Alarms(); len(a) > 0 {
		t.Errorf("alarms %q", a)
	}
	var sent []message.Checked
	for _, d := range l.Downstreams(0, 100) {
		m, err := l.Downstream(d.Seq)
		if err != nil || d.Target != entry.TargetHash(m.Session, m.To) {
			t.Errorf("%+v is %+v, %v", d, m, err)
		}
		if (d.Attempts == 2) != (d.MessageID == "d-2") {
			t.Errorf("%s has %d attempts", d.MessageID, d.Attempts)
		}
		sent = append(sent, m)
	}
	if diff := cmp.Diff(schema3Sent(), sent); diff != "" {
		t.Error(diff)
	}
	var told []string
	for _, e := range l.Events(0, 100) {
		body, err := l.Body(e.Seq)
		if err != nil {
			t.Fatal(err)
		}
		if o := body.Outcome; o != nil {
			told = append(told, fmt.Sprintf("%s to %s%s: %s, %q, %q, %q, gone %v, %d, group %q, %s", o.MessageID, o.To.Token, o.To.Topic, o.Status, o.Code, o.Description, o.NewToken, o.Gone, o.Attempts, o.Group, o.Context))
		} else if u := body.Upstream; u.MessageID != "m-1" || string(u.Data) != `{"n":1}` {
			t.Errorf("upstream %+v", u)
		}
	}
	want := []string{
		`d-5 to tokC: acked, "", "", "tokC2", gone false, 1, group "", `,
		`d-6 to news: expired, "TOPICS_MESSAGE_RATE_EXCEEDED", "slow", "", gone false, 2, group "g", `,
		`d-8 to tokD: failed, "BAD_REGISTRATION", "", "", gone false, 1, group "", `,
	}
	if !slices.Equal(told, want) {
		t.Errorf("outcomes\n%q, want\n%q", told, want)
	}
}

// schema3Again sends what that program had accepted: it is the same message. // P6
func schema3Again(t *testing.T, l *Ledger) {
	t.Helper()
	pending := len(l.Downstreams(0, 100))
	ended := message.Checked{To: message.Token("tokC"), MessageID: "d-4", Session: "main", Group: "g", Context: json.RawMessage(`{"c":1}`)}
	for _, m := range append(schema3Sent(), ended) {
		if err := updateAs(t, l, "p", entry.Changes{Sends: []entry.Send{{Tell: true, Message: m}}}); err != nil {
			t.Errorf("%s again: %v", m.MessageID, err)
		}
		if m.To.Token == "" {
			continue
		}
		m.To = message.FID(m.To.Token)
		if err := updateAs(t, l, "p", entry.Changes{Sends: []entry.Send{{Tell: true, Message: m}}}); !errors.Is(err, entry.ErrExists) {
			t.Errorf("%s to an FID of the same text: %v", m.MessageID, err)
		}
	}
	if n := len(l.Downstreams(0, 100)); n != pending {
		t.Errorf("%d downstreams are pending, were %d", n, pending)
	}
}

// schema3Replayed brings the dead outcome back, as it was.
func schema3Replayed(t *testing.T, l *Ledger) {
	t.Helper()
	letters, err := l.Dead("", 10)
	if err != nil || len(letters) != 1 {
		t.Fatalf("%+v, %v", letters, err)
	}
	if n, gone, err := l.Replay([]string{letters[0].ID}); n != 1 || len(gone) != 0 || err != nil {
		t.Fatalf("replay: %d, %q, %v", n, gone, err)
	}
	events := l.Events(0, 100)
	body, err := l.Body(events[len(events)-1].Seq)
	if o := body.Outcome; err != nil || o == nil || o.MessageID != "d-4" || o.Code != "DEVICE_UNREGISTERED" || o.Gone || o.Status != message.Failed || o.To != message.Token("tokC") || o.Attempts != 3 {
		t.Errorf("replayed %+v, %v", body.Outcome, err)
	}
}

// An outcome of a target that is gone stays one: through a restart, a dead letter and a
// backup. // P4
func TestGoneIsKept(t *testing.T) {
	l := open(t, t.TempDir())
	for i, to := range []message.Target{message.FID("cX"), message.Token("cX")} {
		m := message.Checked{To: to, MessageID: fmt.Sprint("d-", i), Session: "main", Group: "g"}
		if err := updateAs(t, l, "p", entry.Changes{Sends: []entry.Send{{Tell: true, Message: m}}}); err != nil {
			t.Fatal(err)
		}
		end := entry.End{Seq: l.Downstreams(0, 1)[0].Seq, Status: message.Failed, Code: "UNREGISTERED", Gone: true, Attempts: 1}
		if err := await(t, func(done func(error)) { l.Finish(end, done) }); err != nil {
			t.Fatal(err)
		}
	}
	e := lease(t, l, 1)
	if err := settleAs(t, l, entry.Settlement{Seq: e.Seq, Lease: 1, Verdict: entry.Dead, Reason: "no", Plugin: "p"}); err != nil {
		t.Fatal(err)
	}
	letters, err := l.Dead("", 10)
	if err != nil || len(letters) != 1 || !letters[0].Gone || letters[0].Status != "failed" || letters[0].Code != "UNREGISTERED" {
		t.Fatalf("%+v, %v", letters, err)
	}
	if _, _, err := l.Replay([]string{letters[0].ID}); err != nil {
		t.Fatal(err)
	}
	l = reopen(t, l)
	for what, l := range map[string]*Ledger{"restarted": l, "restored": open(t, mustRestore(t, backUp(t, l)))} {
		var got []message.Target
		for _, e := range l.Events(0, 10) {
			body, err := l.Body(e.Seq)
			if o := body.Outcome; err != nil || o == nil || !o.Gone || o.Status != message.Failed || o.Code != "UNREGISTERED" {
				t.Fatalf("%s: %+v, %v", what, body.Outcome, err)
			}
			got = append(got, body.Outcome.To)
		}
		if want := []message.Target{message.Token("cX"), message.FID("cX")}; !slices.Equal(got, want) {
			t.Errorf("%s: outcomes of %+v, want %+v", what, got, want)
		}
		verify(t, l)
	}
}
