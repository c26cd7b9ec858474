package hosttest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/config"
	"balhost/host/internal/fcmsim"
	"balhost/host/internal/fcmv1"
	"balhost/sdk/message"
	"balhost/sdk/wire"
)

// A session with 1,000 downstreams that wait moves from CCS to FCM's HTTP v1 by its block
// alone. Each gets one outcome: what fits goes out, groups in their order; what HTTP v1
// can't carry fails with a reason; what has waited too long expires. // P4 P5
func TestMovesOver(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		outcomes := map[string][]string{}
		heard := func(id string) []string {
			mu.Lock()
			defer mu.Unlock()
			return outcomes[id]
		}
		o := simple(t, dir, &Plugin{
			Name: "sender", Categories: []string{"com.example"}, Order: "device", Outcome: true,
			Handle: func(_ context.Context, _ *Process, d *wire.Delivery) *wire.Result {
				mu.Lock()
				defer mu.Unlock()
				got := d.GetOutcome()
				outcomes[got.GetMessageId()] = append(outcomes[got.GetMessageId()], fmt.Sprintf("%s %s, gone %v", got.GetStatus(), got.GetCode(), got.GetGone()))
				return &wire.Result{Code: wire.Result_DONE}
			},
		})
		pipes := NewPipes()
		fcm, err := fcmsim.NewServer(fcmsim.Options{Listener: pipes, Seed: 1, SenderID: o.Server.SenderID(), AnswerDelay: fcmsim.Range{Max: 200 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		defer fcm.Close()
		o.FCM = pipes
		o.FCMv1 = func(h *Host, o *fcmv1.Options) { o.Transport = h.Link.requests(o.Connections) }
		o.Server.Freeze(true) // CCS answers no more
		h, err := Start(o)
		if err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(time.Minute); h.Serving("sender") == nil; time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the plugin does not serve")
			}
		}
		want := map[string]string{}       // an outcome for each message
		arrivals := map[string][]string{} // what each device is to get
		for i := range 1000 {
			id, device := fmt.Sprint("d-", i), fmt.Sprint("phone-", i)
			d := message.Downstream{MessageID: id, Data: map[string]string{"n": fmt.Sprint(i)}}
			if i%2 == 0 {
				d.Group = fmt.Sprint("group-", i%20)
				device = d.Group
			}
			d.To = message.Token(device)
			switch want[id] = "acked , gone false"; i % 7 {
			case 3:
				d.Notification, want[id] = map[string]string{"title": "x", "colour": "y"}, "failed UNSUPPORTED, gone false"
			case 5:
				ttl := 30 * time.Second
				d.Options.TTL, want[id] = &ttl, "expired , gone false"
			default:
				arrivals[device] = append(arrivals[device], id)
			}
			m, err := d.Checked()
			if err != nil {
				t.Fatal(err)
			}
			if reply, err := h.Serving("sender").Call(&wire.Call{Op: &wire.Call_Send{Send: wire.DownstreamToProto(m)}}); err != nil || reply.GetCode() != wire.Reply_OK {
				t.Fatalf("send %s: %v, %v", id, reply, err)
			}
		}
		time.Sleep(time.Minute)
		v1 := config.Session{Name: "main", SenderID: o.Server.SenderID(), FCMv1: &config.FCMv1{
			Credentials: config.Secret(fcm.ServiceAccount()), Endpoint: fcm.URL(), Connections: 4, Rate: 8000,
		}}
		if err := h.Reconfigure(t.Context(), []config.Session{v1}, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		for id, want := range want {
			if got := heard(id); !slices.Equal(got, []string{want}) {
				t.Errorf("%s: %q, want %q once", id, got, want)
			}
		}
		for device, want := range arrivals {
			r, _ := fcm.Device(device)
			var got []string
			for _, m := range r.Last {
				got = append(got, m.BalID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s got %q, want %q", device, got, want)
			}
		}
		if c := h.Ledger.Counts(); c.Events+c.Downstreams+c.Dead != 0 || c.Acked+c.Failed+c.Expired != 1000 {
			t.Errorf("the ledger has %+v", c)
		}
		if err := h.Stop(); err != nil {
			t.Error(err)
		}
		o.Server.Close()
	})
}
