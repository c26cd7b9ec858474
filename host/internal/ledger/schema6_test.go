package ledger

import (
	"testing"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
)

// TestUpgradeFromSchema6: what that schema kept of ended messages is found and told, as far
// as it goes: no times of attempts, no device. What is pending and dead goes on, and has a
// whole history from then on.
func TestUpgradeFromSchema6(t *testing.T) {
	l := open(t, unpack(t, "testdata/schema6.tar.gz"), atSchema3)
	if found, err := state.Schema(l.o.db()); err != nil || found != schema {
		t.Fatalf("schema %d, %v", found, err)
	}
	for range 2 {
		verify(t, l)
		ended, err := l.Ended(entry.Search{Most: 10}, entry.Place{})
		if err != nil || len(ended.Traces) != 2 || ended.More {
			t.Fatalf("%+v, %v", ended, err)
		}
		failed, handled := ended.Traces[0], ended.Traces[1]
		if failed.State != entry.StateFailed || failed.ID != "d-0" || failed.Code != "BAD_REGISTRATION" || failed.Attempts != 2 || !failed.Last.Began.IsZero() {
			t.Errorf("%+v", failed)
		}
		if handled.State != entry.StateHandled || handled.MessageID != "1" || handled.Hash != entry.DeviceHash("main", "tok1-of-a-device") || !handled.Open {
			t.Errorf("%+v", handled)
		}
		pending, err := l.Pending(false, entry.Search{Most: 10}, 0)
		if err != nil || len(pending.Traces) != 2 {
			t.Fatalf("%+v, %v", pending, err)
		}
		if retrying := pending.Traces[1]; retrying.State != entry.StateRetrying || retrying.Error != "busy" || retrying.Tries != nil || retrying.Attempts != 1 {
			t.Errorf("%+v", retrying)
		}
		dead, err := l.DeadTraces(entry.Search{Most: 10}, "")
		if err != nil || len(dead.Traces) != 1 || dead.Traces[0].Error != "rejected: odd" || dead.Traces[0].Attempts != 1 {
			t.Errorf("%+v, %v", dead, err)
		}
		l = reopen(t, l, atSchema3)
	}
	ev := l.Events(0, 1)[0]
	l.Lease(ev.Seq, 1)
	retry := entry.Settlement{Seq: ev.Seq, Lease: 1, Verdict: entry.Retry, Plugin: "p", Reason: "busy again", Attempt: entry.Attempt{Began: l.o.Now(), Took: time.Second, Version: "2"}}
	if err := settleAs(t, l, retry); err != nil {
		t.Fatal(err)
	}
	got, err := l.PendingTrace(false, ev.Seq)
	if err != nil || len(got.Tries) != 1 || got.Tries[0].Number != 2 || got.Tries[0].Version != "2" || got.Tries[0].Took != time.Second {
		t.Errorf("%+v, %v", got, err)
	}
}
