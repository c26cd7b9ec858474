package ledger

import (
	"fmt"
	"strings"
	"testing"

	"balhost/host/internal/entry"
)

// TestLastPage: entries of one page cost one read of the disk; a page that was
// read before a squeeze put other entries under its key misleads nobody.
func TestLastPage(t *testing.T) {
	l := open(t, t.TempDir())
	l.sent.limit = 1
	data := fmt.Sprintf(`{"x":%q}`, strings.Repeat("x", 200))
	var sends []entry.Send
	for i := range 50 {
		sends = append(sends, send(fmt.Sprint("d-", i), data))
	}
	if err := updateAs(t, l, "p", entry.Changes{Sends: sends}); err != nil {
		t.Fatal(err)
	}
	all := l.Downstreams(0, 100)
	body := func(i int) {
		t.Helper()
		m, err := l.Downstream(all[i].Seq)
		if err != nil || m.MessageID != fmt.Sprint("d-", i) || string(m.Data) != data {
			t.Fatalf("downstream %d: %+v, %v", i, m, err)
		}
	}
	body(0)
	read := l.lastSent.Load()
	if read == nil {
		t.Fatal("nothing was read from the disk")
	}
	for i := range all {
		body(i)
	}
	if l.lastSent.Load() != read {
		t.Error("the page was read again")
	}

	l.lastSent.Store(&lastPage{read.first, reader{key: read.record.key, b: read.record.b[:len(read.record.b)/50]}}) // the first entry alone
	body(0)
	body(49)
	if l.lastSent.Load() == read {
		t.Error("the old page was kept")
	}
	body(1)
}
