package ccs_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"balhost/host/internal/ccs"
	"balhost/host/internal/ccssim"
	"balhost/sdk/message"
)

// Groups keep their order through nacks, drains, cuts, silence and restarts of the host,
// on several connections whose answers come in any order. A group that is stuck holds
// up no other.
func TestGroupsKeepTheirOrderOverEverything(t *testing.T) { // P4, P5
	p := plan{
		server:  ccssim.Options{AckDelay: ccssim.Range{Max: 200 * time.Millisecond}},
		session: func(o *ccs.Options) { quick(o); o.Connections = 3 },
	}
	host(t, p, func(w *whole) {
		const groups, each = 40, 25
		w.srv.Nack(ccssim.Nack{Token: "tok0", Count: -1, Code: "SERVICE_UNAVAILABLE"}) // stuck
		for n := range each {
			for g := range groups {
				m := one(fmt.Sprint("tok", g), fmt.Sprintf("g%d-%02d", g, n), nil)
				m.Group = fmt.Sprint("group ", g)
				w.send(m)
			}
		}
		rnd := rand.New(rand.NewPCG(1, 1))
		for step := range 60 {
			time.Sleep(time.Duration(rnd.IntN(400)) * time.Millisecond)
			switch step % 6 {
			case 0:
				w.srv.Cut()
			case 1, 2:
				w.srv.Nack(ccssim.Nack{Token: fmt.Sprint("tok", 1+rnd.IntN(groups-1)), Count: 3, Code: "INTERNAL_SERVER_ERROR"})
			case 3:
				w.srv.DrainWith(ccssim.Drain{Grace: ccssim.Duration(time.Second)})
			case 4:
				w.srv.Nack(ccssim.Nack{Token: fmt.Sprint("tok", 1+rnd.IntN(groups-1))}) // never answered
			case 5:
				if step%12 == 11 {
					w.restart()
				}
			}
		}
		w.until("all but the stuck group", func() bool { return w.led.Counts().Acked == (groups-1)*each })
		if got := w.received("tok0"); len(got) > 0 {
			t.Errorf("the stuck group got %q", got)
		}
		w.srv.ClearNacks()
		w.until("all", func() bool { return w.led.Counts().Downstreams == 0 })
		all := w.outcomes()
		for g := range groups {
			got := slices.Compact(w.received(fmt.Sprint("tok", g))) // one whose ack was lost came again, before any other
			if !slices.IsSorted(got) || len(got) != each {
				t.Errorf("P5: group %d got %q", g, got)
			}
			for n := range each {
				if id := fmt.Sprintf("g%d-%02d", g, n); all[id].Status != message.Acked {
					t.Errorf("%s: %+v", id, all[id])
				}
			}
		}
		w.legal()
	})
}
