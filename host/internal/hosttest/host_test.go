package hosttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/config"
	"balhost/host/internal/entry"
	"balhost/sdk/message"
	"balhost/sdk/wire"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	os.Setenv("GODEBUG", "tracebacklabels=1,"+os.Getenv("GODEBUG")) // so that a panic tells its seed
	goleak.VerifyTestMain(m)
}

// answering is a plugin that answers each upstream by one downstream, and
// tells what it heard.
func answering(heard chan<- string) *Plugin {
	return &Plugin{
		Name: "echo", Categories: []string{"*"}, Order: "device", Outcome: true,
		Handle: func(_ context.Context, _ *Process, d *wire.Delivery) *wire.Result {
			if o := d.GetOutcome(); o != nil {
				heard <- o.GetStatus() + " " + o.GetMessageId()
				return &wire.Result{Code: wire.Result_DONE}
			}
			u := d.GetUpstream()
			heard <- "upstream " + u.GetMessageId()
			m, err := message.Downstream{MessageID: "re-" + u.GetMessageId(), To: message.Token(u.GetDevice()), Data: map[string]string{"re": "1"}}.Checked()
			if err != nil {
				return &wire.Result{Code: wire.Result_REJECT, Error: err.Error()}
			}
			on := wire.DownstreamToProto(m)
			return &wire.Result{Code: wire.Result_DONE, Changes: &wire.Changes{Send: []*wire.Downstream{on}}}
		},
	}
}

// simple are the options of a host with one session and the plugin pl.
func simple(t *testing.T, dir string, pl *Plugin) Options {
	t.Helper()
	server, err := ccssim.New(ccssim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Disk: NewDisk(dir), Server: server, Plugins: []*Plugin{pl},
		Sessions: []config.Session{{Name: "main", SenderID: server.SenderID(), CCS: &config.CCS{Address: "ccs.test:5235", ServerKey: config.Secret(server.Key())}}},
	}
}

// An upstream's whole way, in one process: to the plugin, and its answer's back.
func TestWholeWay(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		heard := make(chan string, 10)
		o := simple(t, dir, answering(heard))
		h, err := Start(o)
		if err != nil {
			t.Fatal(err)
		}
		id := o.Server.Upstream("device", "com.example", map[string]string{"n": "1"})
		for _, want := range []string{"upstream " + id, "acked re-" + id} {
			if got := <-heard; got != want {
				t.Errorf("the plugin heard %q, want %q", got, want)
			}
		}
		time.Sleep(time.Second) // ends may wait a little for a commit that they share
		synctest.Wait()
		if c := h.Ledger.Counts(); c.Handled != 2 || c.Acked != 1 || c.Events+c.Downstreams != 0 {
			t.Errorf("the ledger has %+v", c)
		}
		if err := h.Stop(); err != nil {
			t.Error(err)
		}
		o.Server.Close()
	})
}

// What CCS says of a downstream reaches the plugin that sent it: the token that
// replaces its target's, why it failed, and that it was delivered. A receipt of
// a message that nobody knows goes to the plugin of its category.
func TestAnswersReachThePlugin(t *testing.T) { // P4
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		heard := make(chan string, 10)
		sender := &Plugin{
			Name: "sender", Categories: []string{"com.example.sender"}, Order: "device", Outcome: true, Receipt: true,
			Handle: func(_ context.Context, _ *Process, d *wire.Delivery) *wire.Result {
				switch o, r := d.GetOutcome(), d.GetReceipt(); {
				case o != nil:
					heard <- fmt.Sprintf("%s: %s, gone %v, %q for %q, %s %s, written %d, %s", o.GetMessageId(), o.GetStatus(), o.GetGone(), o.GetNewToken(), o.GetTo().GetToken(), o.GetCode(), o.GetDescription(), o.GetAttempts(), o.GetContext())
				case r != nil:
					heard <- fmt.Sprintf("receipt of %s: %s at %s of %s", r.GetOriginalMessageId(), r.GetStatus(), r.GetDevice(), r.GetCategory())
				}
				return &wire.Result{Code: wire.Result_DONE}
			},
		}
		other := &Plugin{Name: "other", Categories: []string{"com.example.other"}, Order: "device", Receipt: true,
			Handle: func(_ context.Context, _ *Process, d *wire.Delivery) *wire.Result {
				heard <- "other: receipt of " + d.GetReceipt().GetOriginalMessageId()
				return &wire.Result{Code: wire.Result_DONE}
			},
		}
		o := simple(t, dir, sender)
		o.Plugins = append(o.Plugins, other)
		h, err := Start(o)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		o.Server.SetCanonical("old", "new")
		o.Server.Nack(ccssim.Nack{Count: 1, Token: "gone", Code: "DEVICE_UNREGISTERED", Description: "it left"})
		for _, c := range []struct{ token, want string }{
			{"old", `d-old: acked, gone false, "new" for "old",  , written 1, {"about":"old"}`},
			{"fine", `d-fine: acked, gone false, "" for "fine",  , written 1, {"about":"fine"}`},
			{"gone", `d-gone: failed, gone true, "" for "gone", DEVICE_UNREGISTERED it left, written 1, {"about":"gone"}`},
		} {
			m, err := message.Downstream{MessageID: "d-" + c.token, To: message.Token(c.token), Context: json.RawMessage(`{"about":"` + c.token + `"}`)}.Checked()
			if err != nil {
				t.Fatal(err)
			}
			on := wire.DownstreamToProto(m)
			if reply, err := h.Serving("sender").Call(&wire.Call{Op: &wire.Call_Send{Send: on}}); err != nil || reply.GetCode() != wire.Reply_OK {
				t.Fatalf("send: %v, %v", reply, err)
			}
			if got := <-heard; got != c.want {
				t.Errorf("the plugin heard %s, want %s", got, c.want)
			}
		}
		for _, c := range []struct{ about, want string }{
			{"d-old", "receipt of d-old: MESSAGE_SENT_TO_DEVICE at tokA of com.example.other"}, // its sender's, whatever the category
			{"unknown", "other: receipt of unknown"},
		} {
			id := "dr2:" + c.about
			payload := fmt.Sprintf(`{"message_type":"receipt","from":"gcm.googleapis.com","message_id":%q,"category":"com.example.other",`+
				`"data":{"message_status":"MESSAGE_SENT_TO_DEVICE","original_message_id":%q,"device_registration_id":"tokA"}}`, id, c.about)
			if _, err := o.Server.Send(ccssim.Upstream{From: "gcm.googleapis.com", MessageID: id, Payload: payload}); err != nil {
				t.Fatal(err)
			}
			if got := <-heard; got != c.want {
				t.Errorf("heard %s, want %s", got, c.want)
			}
		}
		time.Sleep(time.Second) // ends may wait a little for a commit that they share
		synctest.Wait()
		if c := h.Ledger.Counts(); c.Handled != 5 || c.Events+c.Downstreams+c.Dead != 0 {
			t.Errorf("the ledger has %+v", c)
		}
		if err := h.Stop(); err != nil {
			t.Error(err)
		}
		o.Server.Close()
	})
}

// P1, P6: a host that is killed between a commit and its acks gets the upstream
// again, handles it once, and acks it then. One that is killed just before the
// commit has nothing of it.
func TestKillAtCommit(t *testing.T) {
	for _, c := range []struct {
		name   string
		at     Moment
		stored int
	}{{"before", BeforeCommit, 0}, {"after", AfterCommit, 1}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				heard := make(chan string, 10)
				o := simple(t, dir, answering(heard))
				h, err := Start(o)
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // the owner of the category is stored
				o.Disk.KillAt(c.at, 0)
				o.Server.Upstream("device", "com.example", map[string]string{"n": "1"})
				<-h.Dead()
				synctest.Wait()
				if !errors.Is(h.Err(), ErrKilled) {
					t.Errorf("dead of %v", h.Err())
				}
				if err := h.Wait(); err != nil {
					t.Fatal(err)
				}
				if acked := o.Server.Counts().Acked; acked != 0 {
					t.Errorf("P1: %d upstreams acked", acked)
				}
				o.Plugins[0].Categories = nil // so that nothing is handled yet
				if h, err = Start(o); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				events := h.Ledger.Events(0, 10)
				if counts := h.Ledger.Counts(); len(events) != 1 || events[0].Kind != entry.Upstream || counts.Duplicates != uint64(c.stored) {
					t.Errorf("P6: pending %+v, %+v", events, counts)
				}
				if acked := o.Server.Counts().Acked; acked != 1 {
					t.Errorf("P1: %d upstreams acked", acked)
				}
				if err := h.Stop(); err != nil {
					t.Error(err)
				}
				o.Server.Close()
			})
		})
	}
}

// P5: what a dead process held is given out again after its exit, not before.
func TestProcessDies(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		handling := make(chan *Process, 10)
		pl := &Plugin{
			Name: "echo", Categories: []string{"*"}, Order: "device",
			Handle: func(ctx context.Context, p *Process, _ *wire.Delivery) *wire.Result {
				handling <- p
				<-ctx.Done()
				return nil
			},
			Exiting: func(*Process) time.Duration { return 5 * time.Second },
		}
		o := simple(t, dir, pl)
		h, err := Start(o)
		if err != nil {
			t.Fatal(err)
		}
		o.Server.Upstream("device", "com.example", nil)
		first := <-handling
		died := time.Now()
		first.Die("in the test")
		if second := <-handling; second == first || time.Since(died) < 5*time.Second || first.Alive() {
			t.Errorf("given out again after %s", time.Since(died))
		}
		h.Kill()
		if err := h.Wait(); err != nil {
			t.Error(err)
		}
		o.Server.Close()
	})
}
