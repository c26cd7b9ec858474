package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"balhost/host/internal/admin"
	"balhost/host/internal/config"
	"balhost/host/internal/dispatch"
	"balhost/host/internal/entry"
	"balhost/host/internal/gateway"
	"balhost/host/internal/ledger"

	"github.com/prometheus/client_golang/prometheus"
)

// withGateways is a host whose sessions have gateways on one ledger.
func withGateways(t *testing.T, l *ledger.Ledger, sessions ...string) *host {
	f := newFleet(prometheus.NewRegistry(), nil)
	for i, name := range sessions {
		g := gateway.New(gateway.Options{Name: name, SenderID: fmt.Sprint(4829 + i), State: l})
		f.members = append(f.members, &member{session: gatewaySession{g, config.Session{Name: name}}})
	}
	return &host{sessions: f, ledger: l}
}

// People see whose devices are whose in the ledger, name the session where there are
// several, and take devices from their users.
func TestBindings(t *testing.T) {
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: t.TempDir(), DiskSoft: 1 << 20, DiskHard: 1 << 10, Inodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	stored := make(chan error, 1)
	l.Update(gateway.StateOwner, entry.Changes{Writes: []entry.Write{
		{Key: "bind/4829/ann", Value: json.RawMessage(`{"devices":[{"from":"fid-1","used":"2026-01-02T03:04:05Z"}]}`)},
		{Key: "bind/4829/bob", Value: json.RawMessage(`{"devices":[{"from":"fid-2","used":"2026-01-02T03:04:05Z"}]}`)},
	}}, func(err error) { stored <- err })
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	h := withGateways(t, l, "main")
	page, err := h.bindings(admin.BindingQuery{Limit: 1})
	if err != nil || len(page.Bindings) != 1 || page.Bindings[0].User != "ann" || page.Next != "ann" {
		t.Errorf("first page %+v: %v", page, err)
	}
	page, err = h.bindings(admin.BindingQuery{Limit: 1, After: page.Next})
	if err != nil || len(page.Bindings) != 1 || page.Bindings[0].From != "fid-2" || page.Next != "" {
		t.Errorf("last page %+v: %v", page, err)
	}
	if page, err := h.bindings(admin.BindingQuery{User: "bob"}); err != nil || len(page.Bindings) != 1 {
		t.Errorf("bob's %+v: %v", page, err)
	}
	if did, err := h.unbind(t.Context(), admin.UnbindOrder{From: []string{"fid-7"}}); err != nil || did.Done != 0 || len(did.Gone) != 1 {
		t.Errorf("nobody's: %+v %v", did, err)
	}
	for want, ask := range map[string]func() error{
		"no session has a gateway":                                   func() error { _, err := withGateways(t, l).bindings(admin.BindingQuery{}); return err },
		"several sessions have a gateway, say which one: main, shop": func() error { _, err := withGateways(t, l, "main", "shop").bindings(admin.BindingQuery{}); return err },
		`there is no session "x" with a gateway; there are main`: func() error {
			_, err := h.unbind(t.Context(), admin.UnbindOrder{Session: "x", From: []string{"a"}})
			return err
		},
	} {
		if err := ask(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := h.state(gateway.StateOwner, entry.Span{Keys: 10}); err == nil {
		t.Error("the gateway's own state is shown as a plugin's")
	}
}

// An erased device is taken from its user, and the user's other devices stay.
func TestEraseBindings(t *testing.T) {
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: t.TempDir(), DiskSoft: 1 << 20, DiskHard: 1 << 10, Inodes: 1, Sizes: ledger.Sizes{MemTable: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g := gateway.New(gateway.Options{Name: "main", SenderID: "4829", State: l})
	h := withGateways(t, l)
	h.sessions.members = append(h.sessions.members, &member{session: gatewaySession{g, config.Session{Name: "main", SenderID: "4829"}}})
	h.dispatch = dispatch.New(dispatch.Options{Ledger: l, Senders: func() entry.Senders { return nil }, Metrics: prometheus.NewRegistry()})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.dispatch.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	hash := sha256.Sum256([]byte("phone-of-ann"))
	stored := make(chan error, 1)
	l.Update(gateway.StateOwner, entry.Changes{Writes: []entry.Write{
		{Key: "from/4829/" + hex.EncodeToString(hash[:]), Value: json.RawMessage(`{"user":"ann"}`)},
		{Key: "bind/4829/ann", Value: json.RawMessage(`{"devices":[{"from":"phone-of-ann","used":"2026-01-02T03:04:05Z"},{"from":"other","used":"2026-01-02T03:04:05Z"}]}`)},
	}}, func(err error) { stored <- err })
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	for _, plan := range []bool{true, false} {
		did, err := h.erase(t.Context(), admin.EraseOrder{Device: "phone-of-ann", Plan: plan})
		if err != nil || did.Bindings != 1 || len(did.Mentions) != 0 || !plan && (!did.Proven || did.Files != 0) {
			t.Errorf("plan %v: %+v, %v", plan, did, err)
		}
	}
	if page, err := h.bindings(admin.BindingQuery{User: "ann"}); err != nil || len(page.Bindings) != 1 || page.Bindings[0].From != "other" {
		t.Errorf("ann's %+v: %v", page, err)
	}
	if h.eraseStage.now().Running {
		t.Error("it is said to run still")
	}
}
