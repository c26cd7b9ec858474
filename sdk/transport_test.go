package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"balhost/sdk"
	"balhost/sdk/plugintest"
	"balhost/sdk/wire"
)

// What a session's transport cannot carry is refused at once, wherever it is sent, and so
// is a session that the host does not have.
func TestTransportRefusesAtOnce(t *testing.T) {
	installation := sdk.Downstream{To: sdk.FID("cX"), Options: sdk.Options{Android: json.RawMessage(`{"priority":"HIGH"}`)}}
	reserved := sdk.Downstream{To: sdk.Token("t"), Data: map[string]string{"bal_id": "x"}}
	to := func(session string, d sdk.Downstream) sdk.Downstream { d.Session = session; return d }
	noFID := func(session string) string {
		return `send: invalid downstream: session "` + session + `" (ccs) cannot carry it: to.fid is set, but CCS knows no installation ids: use the registration token, or a session with fcm_v1
options.android is set, but CCS has no blocks per platform: leave it out and use Options and Notification, or a session with fcm_v1`
	}
	noKey := func(session string) string {
		return `send: invalid downstream: session "` + session + `" (fcm_v1) cannot carry it: data.bal_id is the host's own key: choose another; the host sets it in every message to FCM's HTTP v1`
	}
	noSession := `send: invalid downstream: session "gone" is not in config.hcl; there are ["old" "phones"]`
	two := plugintest.Options{Sessions: []string{"old", "phones"}, Transports: map[string]sdk.Transport{"phones": sdk.FCMv1}}
	one := plugintest.Options{Transports: map[string]sdk.Transport{"main": sdk.FCMv1}}
	for _, tt := range []struct {
		name      string
		o         plugintest.Options
		m         sdk.Downstream
		from      string // the session of the event
		tx, plain string // the errors of Tx.Send and of Host.Send
	}{
		{"the event's session", two, installation, "old", noFID("old"), "-"},
		{"the event's session takes it", two, installation, "phones", "", "-"},
		{"the named session", two, to("old", installation), "phones", noFID("old"), noFID("old")},
		{"the named session takes it", two, to("phones", installation), "old", "", ""},
		{"the other way round", two, to("phones", reserved), "old", noKey("phones"), noKey("phones")},
		{"the other way round, taken", two, to("old", reserved), "phones", "", ""},
		{"the only session", one, reserved, "main", noKey("main"), noKey("main")},
		{"the only session takes it", one, installation, "main", "", ""},
		{"a session that is not there", two, to("gone", sdk.Downstream{To: sdk.Token("t")}), "old", noSession, noSession},
		{"CCS without a word", plugintest.Options{}, installation, "main", noFID("main"), noFID("main")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			said := func(what string, err error, want string) {
				t.Helper()
				if got := text(err); got != want || (err != nil && !errors.Is(err, sdk.ErrInvalid)) {
					t.Errorf("%s:\ngot  %s\nwant %s", what, got, want)
				}
			}
			var host *sdk.Host
			var sent error
			p := with(func(_ context.Context, tx *sdk.Tx, _ sdk.Upstream) error { _, sent = tx.Send(tt.m); return nil })
			p.Start = func(_ context.Context, h *sdk.Host) error { host = h; return nil }
			h := plugintest.New(t, p, tt.o)
			r := h.Upstream(sdk.Upstream{Session: tt.from})
			said("Tx.Send", sent, tt.tx)
			if want := tt.tx == ""; r.Err() != nil || (len(r.Sent) == 1) != want {
				t.Errorf("%v, sent %+v", r.Err(), r.Sent)
			}
			if tt.plain == "-" { // without an event there is no session
				return
			}
			_, err := host.Send(t.Context(), tt.m)
			said("Host.Send", err, tt.plain)
			said("Host.Update", host.Update(t.Context(), func(tx *sdk.Tx) error { _, err := tx.Send(tt.m); return err }), tt.plain)
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A host tells the transports of its sessions, and a reload can change them. One that
// tells none is from before there were several.
func TestTransportsAreTold(t *testing.T) {
	var host *sdk.Host
	p := with(func(context.Context, *sdk.Tx, sdk.Upstream) error { return nil })
	p.Start = func(_ context.Context, h *sdk.Host) error { host = h; return nil }
	l := dial(t, p, quiet)
	for _, tt := range []struct {
		told *wire.HostFrame
		want map[string]sdk.Transport
	}{
		{nil, map[string]sdk.Transport{"main": sdk.CCS, "": sdk.CCS, "other": ""}},
		{&wire.HostFrame{Sessions: []string{"main"}, Transports: []string{"fcm_v1"}}, map[string]sdk.Transport{"main": sdk.FCMv1, "": sdk.FCMv1, "other": ""}},
		{&wire.HostFrame{Sessions: []string{"a", "b"}, Transports: []string{"ccs", "later"}}, map[string]sdk.Transport{"a": sdk.CCS, "b": "later", "": "", "main": ""}},
		{&wire.HostFrame{Sessions: []string{"a", "b"}}, map[string]sdk.Transport{"a": sdk.CCS, "b": sdk.CCS, "": ""}},
	} {
		if tt.told != nil {
			tt.told.Ping = 1
			l.session.Send(tt.told)
			if err := l.session.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for name, want := range tt.want {
			if got := host.Transport(name); got != want {
				t.Errorf("after %v: session %q has %q, want %q", tt.told, name, got, want)
			}
		}
	}
}

// The host takes the names that a session had before a reload, so a plugin that has kept
// one may use it, also one from before this process. A name that it was never told is refused, for a timer's lane too.
func TestFormerSessions(t *testing.T) {
	var host *sdk.Host
	p := with(func(context.Context, *sdk.Tx, sdk.Upstream) error { return nil })
	p.Timer = func(context.Context, *sdk.Tx, sdk.Timer) error { return nil }
	p.Start = func(_ context.Context, h *sdk.Host) error { host = h; return nil }
	l := dial(t, p, quiet)
	l.session.Send(&wire.HostFrame{Sessions: []string{"courier", "phones"}, Ping: 1})
	if err := l.session.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	nobody, cancel := context.WithCancel(t.Context()) // who waits for the host's answer
	cancel()
	for session, refused := range map[string]bool{"courier": false, "main": false, "oldest": false, "mian": true} {
		d := sdk.Downstream{To: sdk.Token("t"), Session: session}
		if _, err := host.Send(nobody, d); errors.Is(err, sdk.ErrInvalid) != refused {
			t.Errorf("Send by session %q: %v", session, err)
		}
		err := host.Update(nobody, func(tx *sdk.Tx) error {
			return tx.Schedule("k", time.Now(), nil, sdk.InLaneOf(session, "device"))
		})
		if errors.Is(err, sdk.ErrInvalid) != refused {
			t.Errorf("a timer in a lane of session %q: %v", session, err)
		}
	}
}
