package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"balhost/host/internal/config"
	"balhost/host/internal/entry"
	"balhost/host/internal/status"
	"balhost/sdk/message"
)

// diary is what the transports of a test do, in order.
type diary struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (d *diary) add(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) take() (lines []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines, d.lines = d.lines, nil
	return lines
}

// plainTransport can do only what every transport must.
type plainTransport struct {
	name string
	to   *diary
}

func (p *plainTransport) Run(ctx context.Context) error {
	p.to.add(p.name + " runs")
	<-ctx.Done()
	p.to.add(p.name + " gives back what is unanswered")
	return nil
}

func (p *plainTransport) Status() status.Session { return status.Session{Name: p.name} }

// ableTransport can do all that the fleet knows of.
type ableTransport struct {
	plainTransport
	stands bool
	refuse error
}

func (a *ableTransport) Stands() bool { return a.stands }

func (a *ableTransport) Open(_ context.Context, old transport) error {
	a.to.add(a.name + " is tried beside " + old.Status().Name)
	return a.refuse
}

func (a *ableTransport) Close() { a.to.add(a.name + " is closed") }

func byCCS(name string) config.Session {
	return config.Session{Name: name, SenderID: "1", CCS: &config.CCS{Address: "ccs:1"}}
}

func byFCM(name string) config.Session {
	return config.Session{Name: name, SenderID: "1", FCMv1: &config.FCMv1{Credentials: "adc", Endpoint: "https://fcm.googleapis.com"}}
}

// follows runs a fleet and changes it from one session to another, as a reload does.
func follows(t *testing.T, from, to config.Session, made map[message.Transport]func(d *diary) transport) (lines []string, err error) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		f := newFleet(prometheus.NewRegistry(), func(s config.Session, _ *x509.CertPool, _ prometheus.Registerer) transport {
			return made[s.Transport()](&d)
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.run(ctx) }()
		change := func(s config.Session) error {
			c, err := f.prepare([]config.Session{s})
			if err == nil {
				err = f.open(ctx, c)
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
		d.take()
		err = change(to)
		lines = d.take()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return lines, err
}

// A session changes its transport by its block alone. The new transport is tried while
// the old one serves; the new one runs only after the old one has given back what is
// unanswered. // P3, P5
func TestTransportChanges(t *testing.T) {
	able := func(name string, stands bool, refuse error) func(*diary) transport {
		return func(d *diary) transport {
			return &ableTransport{plainTransport{name: name, to: d}, stands, refuse}
		}
	}
	plain := func(name string) func(*diary) transport {
		return func(d *diary) transport { return &plainTransport{name: name, to: d} }
	}
	handover := []string{"ccs gives back what is unanswered", "fcm runs"}
	for name, c := range map[string]struct {
		ccs, fcm func(*diary) transport
		lines    []string
		refused  string
	}{
		"tried":                   {able("ccs", true, nil), able("fcm", false, nil), append([]string{"fcm is tried beside ccs"}, handover...), ""},
		"refused":                 {able("ccs", true, nil), able("fcm", false, errors.New("no such project")), []string{"fcm is tried beside ccs", "fcm is closed"}, `session "main" could not be opened with its new settings: no such project; the old session goes on`},
		"the old one is down":     {able("ccs", false, nil), able("fcm", false, errors.New("not asked")), handover, ""},
		"the new one can't be":    {able("ccs", true, nil), plain("fcm"), handover, ""},
		"the old one doesn't say": {plain("ccs"), able("fcm", false, errors.New("not asked")), handover, ""},
	} {
		t.Run(name, func(t *testing.T) {
			lines, err := follows(t, byCCS("main"), byFCM("main"), map[message.Transport]func(*diary) transport{message.CCS: c.ccs, message.FCMv1: c.fcm})
			if diff := cmp.Diff(c.lines, lines); diff != "" {
				t.Error(diff)
			}
			if (err == nil) != (c.refused == "") || err != nil && err.Error() != c.refused {
				t.Errorf("%v, want %q", err, c.refused)
			}
		})
	}
}

// Which changes of a block end its session: all but a new text in the key file that the
// session follows by itself. // P9
func TestSameSession(t *testing.T) {
	with := func(change func(*config.FCMv1)) config.Session {
		s := byFCM("main")
		s.FCMv1.Credentials, s.FCMv1.CredentialsFile, s.FCMv1.Rate = "old", "/etc/sa.json", 8000
		if change != nil {
			change(s.FCMv1)
		}
		return s
	}
	for name, c := range map[string]struct {
		now  config.Session
		same bool
	}{
		"nothing":            {with(nil), true},
		"the file's text":    {with(func(c *config.FCMv1) { c.Credentials = "new" }), true},
		"the rate":           {with(func(c *config.FCMv1) { c.Rate = 1 }), false},
		"another file":       {with(func(c *config.FCMv1) { c.CredentialsFile = "/etc/other.json" }), false},
		"no file":            {with(func(c *config.FCMv1) { c.Credentials, c.CredentialsFile = "adc", "" }), false},
		"the transport":      {byCCS("main"), false},
		"text and rate":      {with(func(c *config.FCMv1) { c.Credentials, c.Rate = "new", 1 }), false},
		"the name":           {func() config.Session { s := with(nil); s.Name = "phones"; return s }(), false},
		"text, without file": {byFCM("main"), false},
	} {
		before := with(nil)
		if got := same(before, c.now); got != c.same {
			t.Errorf("%s: %v", name, got)
		}
		if before.FCMv1.Credentials != "old" {
			t.Errorf("%s: the block in force has changed", name)
		}
	}
	a, b := byFCM("main"), byFCM("main")
	if b.FCMv1.Credentials = "{}"; same(a, b) {
		t.Error("text that no file follows counts as the same")
	}
	if !same(byCCS("main"), byCCS("main")) {
		t.Error("CCS's block differs from itself")
	}
}

// What a reload did to the sessions is said, each in one line.
func TestSessionsChanged(t *testing.T) {
	h := &host{named: entry.Senders{{Name: "main", ID: "1"}}}
	made := func(names ...string) change {
		c := change{made: map[line]*member{}}
		for _, name := range names {
			name, gateway := strings.CutPrefix(name, "gateway of ")
			c.made[line{name, gateway}] = &member{}
		}
		return c
	}
	other := config.Session{Name: "other", SenderID: "2", CCS: &config.CCS{}}
	for _, c := range []struct {
		before, now []config.Session
		c           change
		want        string
	}{
		{[]config.Session{byCCS("main")}, []config.Session{byCCS("main")}, made(), ""},
		{[]config.Session{byCCS("main")}, []config.Session{byCCS("main")}, made("main"), `session "main" is opened with its new settings`},
		{[]config.Session{byCCS("main")}, []config.Session{byFCM("main")}, made("main"), `session "main" goes by fcm_v1 now, and no longer by ccs; what waits goes out by it`},
		{[]config.Session{byFCM("old")}, []config.Session{byCCS("main")}, made("main"), `session "old" has the name "main" now; its waiting messages stay / session "main" goes by ccs now, and no longer by fcm_v1; what waits goes out by it`},
		{[]config.Session{byCCS("main"), other}, []config.Session{byCCS("main")}, made(), `session "other" is closed; its waiting messages stay until their TTL ends`},
		{[]config.Session{byCCS("main")}, []config.Session{byCCS("main"), other}, made("other"), `session "other" is opened with its new settings`},
		{[]config.Session{byFCM("main")}, []config.Session{gate(byFCM("main"), "a:1")}, made("gateway of main"), `session "main" has a gateway at a:1 now`},
		{[]config.Session{gate(byFCM("main"), "a:1")}, []config.Session{byFCM("main")}, made(), `session "main" has no gateway any more; the connections of its devices are closed`},
		{[]config.Session{gate(byFCM("main"), "a:1")}, []config.Session{gate(byFCM("main"), "b:1")}, made("gateway of main"), `session "main" has its gateway at b:1 now, and no longer at a:1; devices have to connect there`},
		{[]config.Session{gate(byFCM("main"), "a:1")}, []config.Session{gate(byFCM("main"), "a:1")}, made("gateway of main"), `session "main" opens its gateway with its new settings; devices connect again`},
		{[]config.Session{gate(byFCM("main"), "a:1")}, []config.Session{gate(byFCM("main"), "a:1")}, made("main"), `session "main" is opened with its new settings`},
		{[]config.Session{gate(byFCM("main"), "a:1")}, []config.Session{gate(byCCS("main"), "a:1")}, made("main"), `session "main" goes by ccs now, and no longer by fcm_v1; what waits goes out by it`},
		{[]config.Session{gate(alone("main"), "a:1")}, []config.Session{gate(byCCS("main"), "a:1")}, made("main"), `session "main" goes by ccs now; what waits for devices that are not connected to its gateway goes out by it`},
		{[]config.Session{gate(byFCM("main"), "a:1")}, []config.Session{gate(alone("main"), "a:1")}, made(), `session "main" goes by fcm_v1 no longer; what waits goes to devices that connect to its gateway`},
		{[]config.Session{byFCM("main")}, []config.Session{gate(alone("main"), "a:1")}, made("gateway of main"), `session "main" goes by fcm_v1 no longer; what waits goes to devices that connect to its gateway / session "main" has a gateway at a:1 now`},
	} {
		if got := strings.Join(h.sessionsChanged(c.before, c.now, c.c), " / "); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

// A session says itself why it is not ready and what to warn of.
func TestSessionsSayWhy(t *testing.T) {
	phones := status.Session{Name: "phones", Transport: message.FCMv1, Unready: []string{`session "phones": there is no access token`}, Warnings: []string{"odd"}}
	l := &look{sessions: []status.Session{phones}}
	if got := l.unready(); !slices.Contains(got, phones.Unready[0]) {
		t.Errorf("not ready because of %q", got)
	}
	if got := l.warnings(); !slices.Equal(got, []string{"odd"}) {
		t.Errorf("warnings %q", got)
	}
}
