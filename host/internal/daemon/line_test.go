package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"balhost/host/internal/config"
	"balhost/host/internal/gateway"
	"balhost/host/internal/status"
	"balhost/sdk/message"
)

func alone(name string) config.Session { return config.Session{Name: name, SenderID: "1"} }

// gate is a session with a gateway beside what it has.
func gate(s config.Session, listen string) config.Session {
	s.Gateway = &config.Gateway{Listen: listen, Rate: 10}
	return s
}

func changed(s config.Session, change func(*config.Session)) config.Session {
	change(&s)
	return s
}

// doorway is a gateway of a test. It listens at its address, which one can do at a time,
// since Open or Run.
type doorway struct {
	name, address string
	to            *diary
	taken         *sync.Map // address → who listens
	open          bool
}

func (g *doorway) Open(context.Context, transport) error {
	if _, taken := g.taken.LoadOrStore(g.address, g.name); taken {
		g.to.add(g.name + " finds " + g.address + " taken")
		return errors.New("listen tcp " + g.address + ": address already in use")
	}
	g.open = true
	g.to.add(g.name + " listens at " + g.address)
	return nil
}

func (g *doorway) Close() {
	if g.open {
		g.taken.Delete(g.address)
		g.to.add(g.name + " is closed")
	}
}

func (g *doorway) Run(ctx context.Context) error {
	if !g.open {
		if err := g.Open(ctx, nil); err != nil {
			return err
		}
	}
	g.to.add(g.name + " serves")
	<-ctx.Done()
	g.taken.Delete(g.address)
	g.to.add(g.name + " has drained")
	return nil
}

func (g *doorway) Status() status.Session {
	return status.Session{Name: g.name, Gateway: &status.Gateway{Address: g.address}}
}

// A reload ends and starts only the part of a session whose block has changed: a new
// fcm_v1 drops no socket, and a new gateway costs FCM nothing. A gateway with another
// address listens there before the old one ends; one that stays, after that. An address
// that is taken costs nothing. // P9, P10
func TestLinesChange(t *testing.T) {
	both := gate(byFCM("main"), "a:1")
	rate := func(s *config.Session) { g := *s.Gateway; g.Rate = 7; s.Gateway = &g }
	fcm := func(s *config.Session) { f := *s.FCMv1; f.Rate = 7; s.FCMv1 = &f }
	moved := func(s *config.Session) { g := *s.Gateway; g.Listen = "b:1"; s.Gateway = &g }
	second := changed(gate(byCCS("two"), "b:1"), func(s *config.Session) { s.SenderID = "2" })
	for name, c := range map[string]struct {
		from, to []config.Session
		taken    string // an address that another program has
		lines    []string
		refused  string
	}{
		"nothing":              {[]config.Session{both}, []config.Session{both}, "", nil, ""},
		"another rate for FCM": {[]config.Session{both}, []config.Session{changed(both, fcm)}, "", []string{"fcm_v1#3 is tried beside fcm_v1#1", "fcm_v1#1 gives back what is unanswered", "fcm_v1#3 runs"}, ""},
		"another transport":    {[]config.Session{both}, []config.Session{gate(byCCS("main"), "a:1")}, "", []string{"ccs#3 is tried beside fcm_v1#1", "fcm_v1#1 gives back what is unanswered", "ccs#3 runs"}, ""},
		"the gateway's rate":   {[]config.Session{both}, []config.Session{changed(both, rate)}, "", []string{"gateway#3 listens at a:1", "gateway#3 serves", "gateway#2 has drained"}, ""},
		"the gateway's address": {[]config.Session{both}, []config.Session{changed(both, moved)}, "", []string{
			"gateway#3 listens at b:1", "gateway#2 has drained", "gateway#3 serves"}, ""},
		"an address that is taken": {[]config.Session{both}, []config.Session{changed(both, moved)}, "b:1", []string{"gateway#3 finds b:1 taken"},
			`listen tcp b:1: address already in use`},
		"taken, and FCM too": {[]config.Session{both}, []config.Session{changed(changed(both, moved), fcm)}, "b:1", []string{
			"fcm_v1#3 is tried beside fcm_v1#1", "gateway#4 finds b:1 taken", "fcm_v1#3 is closed"}, `listen tcp b:1: address already in use`},
		"a gateway is added": {[]config.Session{byFCM("main")}, []config.Session{both}, "", []string{"gateway#2 listens at a:1", "gateway#2 serves"}, ""},
		"added where taken":  {[]config.Session{byFCM("main")}, []config.Session{both}, "a:1", []string{"gateway#2 finds a:1 taken"}, `listen tcp a:1: address already in use`},
		"it is removed":      {[]config.Session{both}, []config.Session{byFCM("main")}, "", []string{"gateway#2 has drained"}, ""},
		"it stays alone":     {[]config.Session{both}, []config.Session{gate(alone("main"), "a:1")}, "", []string{"fcm_v1#1 gives back what is unanswered"}, ""},
		"two change places": {[]config.Session{both, second}, []config.Session{gate(byFCM("main"), "b:1"), changed(second, func(s *config.Session) { *s = gate(*s, "a:1") })}, "", []string{
			"gateway#5 listens at b:1", "gateway#5 serves", "gateway#6 listens at a:1", "gateway#6 serves", "gateway#2 has drained", "gateway#4 has drained"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			lines, err := changeLines(t, c.from, c.to, c.taken)
			if diff := cmp.Diff(sorted(c.lines), sorted(lines)); diff != "" {
				t.Error(diff)
			}
			inOrder(t, lines)
			if (err == nil) != (c.refused == "") || err != nil && err.Error() != c.refused {
				t.Errorf("%v, want %q", err, c.refused)
			}
		})
	}
}

// inOrder checks what must come before what.
func inOrder(t *testing.T, lines []string) {
	t.Helper()
	last := -1 // the last that ended
	for i, line := range lines {
		if strings.Contains(line, "has drained") || strings.Contains(line, "gives back") {
			last = i
		}
	}
	for i, line := range lines {
		if (strings.Contains(line, " serves") || strings.Contains(line, " runs")) && i < last {
			t.Errorf("%q before all that end have ended: %q", line, lines)
		}
	}
}

func sorted(lines []string) []string {
	all := strings.Split(strings.Join(lines, "\n"), "\n")
	slices.Sort(all)
	return all
}

// changeLines runs a fleet and changes it as a reload does.
func changeLines(t *testing.T, from, to []config.Session, taken string) (did []string, err error) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		n, at := 0, new(sync.Map)
		f := newFleet(prometheus.NewRegistry(), func(s config.Session, _ *x509.CertPool, _ prometheus.Registerer) transport {
			n++
			name := fmt.Sprintf("%s#%d", s.Transport(), n)
			if s.Gateway != nil {
				return &doorway{name: fmt.Sprintf("gateway#%d", n), address: s.Gateway.Listen, to: &d, taken: at}
			}
			return &ableTransport{plainTransport{name: name, to: &d}, true, nil}
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.run(ctx) }()
		change := func(sessions []config.Session) error {
			c, err := f.prepare(sessions)
			if err == nil {
				err = f.open(ctx, c)
			}
			if err == nil {
				err = f.listen(ctx, c)
			}
			if err == nil {
				err = f.apply(ctx, c)
			}
			synctest.Wait()
			return err
		}
		if err := change(from); err != nil {
			t.Fatal(err)
		}
		if taken != "" {
			at.Store(taken, "another program")
		}
		d.take()
		err = change(to)
		did = d.take()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return did, err
}

// The status of a session is that of its transport and of its gateway together; one with
// a gateway alone has no connection to a server.
func TestStatusOfBoth(t *testing.T) {
	s := gateway.Status{Gateway: status.Gateway{Address: "127.0.0.1:8443", Sockets: 2, Stored: 3, Duplicates: 4, Downstreams: 5, Acked: 6, AckP50: 7, AckP99: 8}, Unready: []string{"no key set of session main yet"}, Warnings: []string{"the certificate of session main expires"}}
	own := tellGateway(gate(alone("main"), "127.0.0.1:8443"), s)
	carrier := status.Session{Name: "main", SenderID: "1", Transport: message.FCMv1, Address: "fcm", Downstreams: 10, Answered: 20, Unready: []string{"no token"}, FCMv1: &status.FCMv1{}}
	both := beside(carrier, own)
	if own.Upstreams != 7 || own.Address != "127.0.0.1:8443" || own.Gateway.Sockets != 2 {
		t.Errorf("alone: %+v", own)
	}
	if both.Transport != message.FCMv1 || both.Address != "fcm" || both.Upstreams != 7 || both.Downstreams != 15 || both.Answered != 26 || both.AckP99 != 8 || both.Gateway.Address != "127.0.0.1:8443" {
		t.Errorf("both: %+v", both)
	}
	if got := strings.Join(both.Unready, " / "); got != "no token / no key set of session main yet" {
		t.Error(got)
	}
	if got := strings.Join(both.Warnings, " / "); got != "the certificate of session main expires" {
		t.Error(got)
	}
}

// A device may repeat an upstream only while the ledger knows it. // P6
func TestLongestTTL(t *testing.T) {
	for dedup, want := range map[time.Duration]time.Duration{48 * time.Hour: 47 * time.Hour, 3 * time.Hour: 2 * time.Hour, 2 * time.Hour: time.Hour, time.Hour: 30 * time.Minute, time.Second: 500 * time.Millisecond} {
		if got := maxTTL(dedup); got != want || got >= dedup {
			t.Errorf("%s: %s, want %s", dedup, got, want)
		}
	}
}
