package ledger

import (
	"fmt"
	"slices"
	"testing"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// targets are those of what is pending, in its order.
func targets(l *Ledger) (all []uint64) {
	for _, d := range l.Downstreams(0, 100) {
		all = append(all, d.Target)
	}
	return all
}

// A pending downstream has the hash of its target: one for each target of a
// session, and a token's is that of the device. It is made from the record, so
// it is the same after a restart and in a restored ledger.
func TestTargets(t *testing.T) {
	l := open(t, t.TempDir())
	mustAccept(t, l, "news", "m-1", `{}`)
	var sends []entry.Send
	for i, to := range []message.Target{
		message.Token("news"), message.Token("news"), message.Token("sport"), message.Topic("news"), message.Topic("sport"),
		message.Condition("'news' in topics"), message.Condition("news"), message.FID("news"), message.FID("sport"),
	} {
		sends = append(sends, entry.Send{Message: message.Checked{To: to, MessageID: fmt.Sprint("d-", i), Session: "main"}})
	}
	other := sends[0]
	other.Message.Session = "other"
	if err := updateAs(t, l, "p", entry.Changes{Sends: append(sends, other)}); err != nil {
		t.Fatal(err)
	}
	want := targets(l)
	if len(want) != 10 || want[0] != want[1] || want[0] != l.Events(0, 1)[0].Device {
		t.Fatalf("targets %x of device %x", want, l.Events(0, 1)[0].Device)
	}
	if apart := slices.Sorted(slices.Values(want[1:])); apart[0] == 0 || len(slices.Compact(apart)) != 9 {
		t.Errorf("of two targets the hash is the same, or there is none: %x", want)
	}
	file := backUp(t, l)
	l = reopen(t, l)
	if got := targets(l); !slices.Equal(got, want) {
		t.Errorf("after a restart %x, want %x", got, want)
	}
	if got := targets(open(t, mustRestore(t, file))); !slices.Equal(got, want) {
		t.Errorf("restored %x, want %x", got, want)
	}
}
