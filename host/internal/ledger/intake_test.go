package ledger

import (
	"errors"
	"testing"

	"balhost/host/internal/entry"
)

// TestStoppedIntakeStoresNothing: it is as a full disk for one sender: known messages are
// acked, later ones of a line are not though it goes on meanwhile, and whoever waits for
// room hears when there is. // P1 P6
func TestStoppedIntakeStoresNothing(t *testing.T) {
	l := open(t, t.TempDir())
	line := &entry.Line{}
	if again, err := acceptIn(t, l, line, "1"); again || err != nil {
		t.Fatal(again, err)
	}
	l.StopIntake("main")
	l.StopIntake("main") // twice is once
	if again, err := acceptIn(t, l, line, "1"); !again || err != nil {
		t.Error("a repeat of what was stored:", again, err)
	}
	_, err := acceptIn(t, l, line, "2")
	wantErr(t, err, entry.ErrPaused)
	wantErr(t, err, entry.ErrFull) // so each transport does what it does then
	if _, err := acceptIn(t, l, &entry.Line{}, "3"); !errors.Is(err, entry.ErrPaused) {
		t.Error("on another connection:", err)
	}
	other := upstream("tokA", "9", `{}`)
	other.Session = "other"
	if err := await(t, func(done func(error)) { l.Accept(entry.Inbound{Upstream: other}, done) }); err != nil {
		t.Error("another sender:", err)
	}
	room := l.RoomOf("main")
	select {
	case <-room:
		t.Fatal("there is room while it is stopped")
	case <-l.RoomOf("other"):
	}
	l.ResumeIntake("main")
	<-room
	<-l.RoomOf("main")
	if _, err := acceptIn(t, l, line, "2"); !errors.Is(err, entry.ErrFull) {
		t.Error("later, on the line that was broken:", err)
	}
	if again, err := acceptIn(t, l, &entry.Line{}, "2"); again || err != nil {
		t.Error("on a new connection:", again, err)
	}
	if n := l.Counts().Accepted; n != 3 {
		t.Errorf("%d stored, want 3", n)
	}
}
