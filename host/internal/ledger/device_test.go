package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// acceptIn stores an upstream of tokA in a line, and reports whether it was stored before.
func acceptIn(t *testing.T, l *Ledger, line *entry.Line, id string) (again bool, err error) {
	t.Helper()
	err = await(t, func(done func(error)) {
		l.Accept(entry.Inbound{Upstream: upstream("tokA", id, `{}`), Line: line, Again: &again}, done)
	})
	return again, err
}

// After the first upstream of a line that found no room none of it is stored, though
// there is room again: it would be stored before that one. Other lines go on. // P1
func TestLineIsStoredInOrder(t *testing.T) {
	d := newDisk()
	l := open(t, t.TempDir(), d.options)
	line, idle := &entry.Line{}, &entry.Line{}
	for _, line := range []*entry.Line{line, idle} {
		if _, err := acceptIn(t, l, line, "1"); err != nil {
			t.Fatal(err)
		}
	}
	d.bytes.Store(1<<30 - 1)
	until(t, "full", l.Full)
	_, err := acceptIn(t, l, line, "2")
	wantErr(t, err, entry.ErrFull)
	d.bytes.Store(1 << 40)
	until(t, "room", func() bool { return !l.Full() })
	for _, id := range []string{"3", "2", "1"} {
		_, err := acceptIn(t, l, line, id)
		wantErr(t, err, entry.ErrFull)
	}
	if n := l.Counts().Accepted; n != 1 {
		t.Errorf("P1: %d are stored, and one is", n)
	}
	for _, line := range []*entry.Line{nil, idle, {}} {
		for _, id := range []string{"2", "3"} {
			if _, err := acceptIn(t, l, line, id); err != nil {
				t.Errorf("%s in another line: %v", id, err)
			}
		}
	}
	for i, e := range l.Events(0, 10) {
		if body, err := l.Body(e.Seq); err != nil || body.Upstream.MessageID != fmt.Sprint(i+1) {
			t.Errorf("%d is %+v, %v", i, body.Upstream, err)
		}
	}
}

// What can never be stored stops no line. // P10
func TestRefusedReceiptStopsNoLine(t *testing.T) {
	l := open(t, t.TempDir())
	line := &entry.Line{}
	err := await(t, func(done func(error)) {
		l.Accept(entry.Inbound{Receipt: &message.Receipt{Session: "main", Device: "tokA", OriginalMessageID: "d-0"}, FromDevice: true, Line: line}, done)
	})
	wantErr(t, err, entry.ErrNotSent)
	if _, err := acceptIn(t, l, line, "1"); err != nil {
		t.Error(err)
	}
}

// Who asks is told whether an upstream was stored before. // P6
func TestAgain(t *testing.T) {
	l := open(t, t.TempDir())
	for i := range 3 {
		if again, err := acceptIn(t, l, nil, "1"); err != nil || again != (i > 0) {
			t.Errorf("time %d: again %v, %v", i, again, err)
		}
		if i == 1 {
			l = reopen(t, l)
		}
	}
}

// A device's receipt is stored if its session has sent the message to this device, as
// its token or as its FID, as long as the message is known. It goes to the plugin that
// sent the message, once for each status. // P6; fcm-v1-and-gateway.md C2
func TestReceiptsOfDevices(t *testing.T) {
	l := open(t, t.TempDir())
	var sends []entry.Send
	for id, to := range map[string]message.Target{
		"to a token": message.Token("devA"), "to an FID": message.FID("devA"), "to another": message.Token("devB"),
		"to a topic": message.Topic("devA"), "to a condition": message.Condition("devA"),
	} {
		sends = append(sends, entry.Send{Message: message.Checked{To: to, MessageID: id, Session: "main", Group: "room"}})
	}
	if err := updateAs(t, l, "echo", entry.Changes{Sends: sends}); err != nil {
		t.Fatal(err)
	}
	group := l.Downstreams(0, 1)[0].Group
	tests := []struct {
		what, id string
		change   func(*message.Receipt)
		want     error
		again    bool
	}{
		{what: "of a token", id: "to a token"},
		{what: "of a token, again", id: "to a token", again: true},
		{what: "of a token, at another time", id: "to a token", again: true, change: func(r *message.Receipt) { r.SentAt = time.UnixMilli(5) }},
		{what: "with another status", id: "to a token", change: func(r *message.Receipt) { r.Status = "OPENED" }},
		{what: "of an FID", id: "to an FID"},
		{what: "of another device's", id: "to another", want: entry.ErrNotSent},
		{what: "of a topic", id: "to a topic", want: entry.ErrNotSent},
		{what: "of a condition", id: "to a condition", want: entry.ErrNotSent},
		{what: "of nothing", id: "made up", want: entry.ErrNotSent},
		{what: "of another session", id: "to a token", want: entry.ErrNotSent, change: func(r *message.Receipt) { r.Session = "other" }},
		{what: "with a long status", id: "to a token", want: entry.ErrTooLarge, change: func(r *message.Receipt) { r.Status = strings.Repeat("S", 2000) }},
		{what: "with a long id", id: strings.Repeat("d", 5000), want: entry.ErrTooLarge},
		{what: "of a long device", id: "to a token", want: entry.ErrTooLarge, change: func(r *message.Receipt) { r.Device = strings.Repeat("d", 5000) }},
		{what: "that no commit can hold", id: "to a token", want: entry.ErrTooLarge, change: func(r *message.Receipt) { r.Status = strings.Repeat("S", 2*maxBody) }},
	}
	stored := 0
	for _, test := range tests {
		r := &message.Receipt{Session: "main", OriginalMessageID: test.id, Device: "devA", Status: "DISPLAYED", SentAt: time.UnixMilli(1711000000000)}
		if test.change != nil {
			test.change(r)
		}
		again, given := false, *r
		err := await(t, func(done func(error)) {
			l.Accept(entry.Inbound{Receipt: r, FromDevice: true, Again: &again}, done)
		})
		if !errors.Is(err, test.want) || again != test.again {
			t.Errorf("%s: %v, again %v", test.what, err, again)
		}
		if test.want != nil || test.again {
			continue
		}
		events := l.Events(0, 100)
		if stored++; len(events) != stored {
			t.Fatalf("%s: %d events, want %d", test.what, len(events), stored)
		}
		e := events[stored-1]
		body, err := l.Body(e.Seq)
		if err != nil || e.Kind != entry.Receipt || e.Plugin != "echo" || e.Group != group || e.Category != "" {
			t.Fatalf("%s: event %+v, %v", test.what, e, err)
		}
		got := *body.Receipt
		if got.ID == "" || got.Attempt != 1 || !got.SentAt.Equal(given.SentAt) {
			t.Errorf("%s: %+v", test.what, got)
		}
		got.ID, got.Attempt, got.SentAt = "", 0, given.SentAt
		if got != given {
			t.Errorf("%s: %+v, want %+v", test.what, got, given)
		}
	}
	if c := l.Counts(); c.Dead != 0 || c.Accepted != uint64(stored) || len(l.Events(0, 100)) != stored {
		t.Errorf("%+v", c)
	}
	verify(t, l)
}

// The state of the host's own parts is kept as a plugin's, and in backups. No plugin can
// have such a name, so none sees it.
func TestStateOfTheGateway(t *testing.T) {
	const owner = "~gateway"
	if message.CheckPluginName(owner) == nil {
		t.Error("a plugin can have this name")
	}
	l := open(t, t.TempDir())
	if err := updateAs(t, l, owner, entry.Changes{Writes: []entry.Write{{Key: "main uid-1", Value: json.RawMessage(`["devA"]`)}}}); err != nil {
		t.Fatal(err)
	}
	l = reopen(t, l)
	for what, l := range map[string]*Ledger{"restarted": l, "restored": open(t, mustRestore(t, backUp(t, l)))} {
		v, version, err := l.Get(owner, "main uid-1")
		if err != nil || string(v) != `["devA"]` || version == 0 {
			t.Errorf("%s: %s, version %d, %v", what, v, version, err)
		}
		if v, _, err := l.Get("gateway", "main uid-1"); v != nil || err != nil {
			t.Errorf("%s: a plugin sees %s, %v", what, v, err)
		}
		verify(t, l)
	}
}
