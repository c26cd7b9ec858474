package gateway

import (
	"net/http"
	"testing"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// tapped notes what reaches the ledger.
type tapped struct {
	Inbox
	came []entry.Inbound
}

func (i *tapped) Accept(in entry.Inbound, done func(error)) {
	i.came = append(i.came, in)
	i.Inbox.Accept(in, done)
}

// A device's traceparent goes with what it posts, whatever it is: the ledger looks at it.
func TestTraceparentOfRequest(t *testing.T) {
	const own = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	tap := &tapped{}
	inHouse(t, func(o *Options) { tap.Inbox, o.Inbox = o.Inbox, tap }, func(t *testing.T, h *house) {
		c := h.client(away)
		for _, a := range []received{h.post(c, "/v1/upstream", one("m1"), "traceparent", own), h.post(c, "/v1/upstream", one("m2")), h.post(c, "/v1/upstream", one("m3"), "Traceparent", "nonsense")} {
			if a.status != http.StatusAccepted {
				t.Errorf("%+v", a)
			}
		}
	})
	for i, want := range []string{own, "", "nonsense"} {
		if i >= len(tap.came) || tap.came[i].Traceparent != want || tap.came[i].Via != message.Gateway {
			t.Errorf("message %d: %+v", i, tap.came)
		}
	}
}
