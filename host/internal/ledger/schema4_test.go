package ledger

import (
	"os"
	"testing"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
	"balhost/sdk/message"
)

// TestUpgradeFromSchema4: what was sent is known when it is sent again, and CCS's receipts
// of it go to its plugin. To whom it was sent is not known, so no device's receipt of it is
// stored; one of what is sent now is. It holds for a folder that a killed process left,
// with commits in tables and in the journal, and for a backup. // P0 P4 P6
func TestUpgradeFromSchema4(t *testing.T) {
	file, err := os.ReadFile("testdata/schema4.bak")
	if err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"folder": unpack(t, "testdata/schema4.tar.gz"), "backup": mustRestore(t, file)} {
		t.Run(name, func(t *testing.T) {
			l := open(t, dir, atSchema3)
			if found, err := state.Schema(l.o.db()); err != nil || found != schema {
				t.Fatalf("schema %d, %v", found, err)
			}
			for range 2 {
				schema4Holds(t, l)
				verify(t, l)
				l = reopen(t, l, atSchema3)
			}
			schema4Again(t, l)
			schema4Receipts(t, l)
			verify(t, l)
		})
	}
}

// schema4Sent are the downstreams that the ledger of schema 4 was given. That of d-2 is
// acked.
func schema4Sent() []message.Checked {
	return []message.Checked{
		{To: message.Token("tokA"), MessageID: "d-0", Session: "main", Group: "g"},
		{To: message.FID("fidB"), MessageID: "d-1", Session: "main"},
		{To: message.Token("tokC"), MessageID: "d-2", Session: "main", Group: "g"},
		{To: message.Token("tokD"), MessageID: "d-3", Session: "main"},
	}
}

func schema4Holds(t *testing.T, l *Ledger) {
	t.Helper()
	if c := l.Counts(); c.Sent != 4 || c.Acked != 1 || c.Downstreams != 3 || c.Events != 1 {
		t.Errorf("counts %+v", c)
	}
	if a := l.Alarms(); len(a) > 0 {
		t.Errorf("alarms %q", a)
	}
	for _, d := range l.Downstreams(0, 100) {
		m, err := l.Downstream(d.Seq)
		if err != nil || d.Target != entry.TargetHash(m.Session, m.To) {
			t.Errorf("%+v is %+v, %v", d, m, err)
		}
	}
}

// schema4Again sends what that program had accepted: it is the same message. // P6
func schema4Again(t *testing.T, l *Ledger) {
	t.Helper()
	for _, m := range schema4Sent() {
		if err := updateAs(t, l, "p", entry.Changes{Sends: []entry.Send{{Tell: true, Message: m}}}); err != nil {
			t.Errorf("%s again: %v", m.MessageID, err)
		}
	}
	if n := len(l.Downstreams(0, 100)); n != 3 {
		t.Errorf("%d downstreams are pending", n)
	}
}

func schema4Receipts(t *testing.T, l *Ledger) {
	t.Helper()
	fromDevice := func(device, id string) error {
		return await(t, func(done func(error)) {
			l.Accept(entry.Inbound{FromDevice: true, Receipt: &message.Receipt{Session: "main", Device: device, OriginalMessageID: id, Status: "OPENED"}}, done)
		})
	}
	for id, device := range map[string]string{"d-0": "tokA", "d-1": "fidB", "d-2": "tokC", "d-3": "tokD"} {
		wantErr(t, fromDevice(device, id), entry.ErrNotSent)
	}
	m := message.Checked{To: message.Token("tokA"), MessageID: "d-9", Session: "main", Group: "g"}
	if err := updateAs(t, l, "p", entry.Changes{Sends: []entry.Send{{Tell: true, Message: m}}}); err != nil {
		t.Fatal(err)
	}
	if err := fromDevice("tokA", "d-9"); err != nil {
		t.Errorf("a receipt of what is sent now: %v", err)
	}
	err := await(t, func(done func(error)) {
		l.Accept(entry.Inbound{CCSMessageID: "dr2:d-2", Receipt: &message.Receipt{Session: "main", Device: "tokC", OriginalMessageID: "d-2"}}, done)
	})
	if err != nil {
		t.Fatal(err)
	}
	events := l.Events(0, 100)
	if last := events[len(events)-1]; len(events) != 3 || last.Plugin != "p" || last.Group != events[1].Group {
		t.Errorf("events %+v", events)
	}
}
