package fcmsim

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// report is a device's report.
func report(t *testing.T, s *Server, target string) DeviceReport {
	t.Helper()
	d, ok := s.Device(target)
	if !ok {
		t.Fatalf("no device %s", target)
	}
	return d
}

// give delivers a message without a request.
func give(t *testing.T, s *Server, message string) {
	t.Helper()
	m, bad := decode([]byte(`{"message":` + message + `}`))
	if bad != nil {
		t.Fatal(bad.text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliver(&m, "name", time.Now())
}

// An install has a token or an FID: the other kind is UNREGISTERED. Sheet G, row 15.
func TestKindOfAddress(t *testing.T) {
	s := newServer(t, Options{})
	c := dial(t, s)
	send := func(kind Kind, target string) int {
		t.Helper()
		a := c.send(`{"` + string(kind) + `":"` + target + `","data":{"bal_id":"` + string(kind) + target + `"}}`)
		if a.code != 200 {
			equal(t, "reason", a.reason(), "UNREGISTERED")
		}
		return a.code
	}
	for _, by := range []Kind{KindToken, KindFID, ""} {
		if err := s.Register(Install{Token: "t1", FID: "f1", By: by}); err != nil {
			t.Fatal(err)
		}
		equal(t, "token", send(KindToken, "t1"), map[bool]int{true: 200, false: 404}[by != KindFID])
		equal(t, "fid", send(KindFID, "f1"), map[bool]int{true: 200, false: 404}[by != KindToken])
		equal(t, "fid as token", send(KindToken, "f1"), map[bool]int{true: 200, false: 404}[by != KindToken])
	}
	equal(t, "one device", report(t, s, "t1").Received, report(t, s, "f1").Received)
	s.Uninstall("t1")
	equal(t, "uninstalled", send(KindToken, "t1"), 404)
	equal(t, "uninstalled", send(KindFID, "f1"), 404)
	a := c.body(`{"validate_only":true,"message":{"token":"t1"}}`)
	equal(t, "validate_only", a.reason(), "UNREGISTERED")
	s.Register(Install{Token: "t1"})
	equal(t, "installed again", send(KindToken, "t1"), 200)
	for _, bad := range []Install{{}, {Token: "x", By: "topic"}} {
		if s.Register(bad) == nil {
			t.Errorf("%+v was registered", bad)
		}
	}
}

// What waits for a device that is offline. Spec: fcm-v1-and-gateway.md A7.
func TestOffline(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, s *Server, _ *link) {
		s.SetOnline("t", false)
		for i := range 3 {
			give(t, s, fmt.Sprintf(`{"token":"t","data":{"bal_id":"k%d"},"android":{"collapse_key":"k"}}`, i))
		}
		for i := range 5 { // four keys are kept
			give(t, s, fmt.Sprintf(`{"token":"t","data":{"bal_id":"key%d"},"android":{"collapse_key":"key%d"}}`, i, i))
		}
		give(t, s, `{"token":"t","notification":{"title":"a"},"data":{"bal_id":"n1"}}`)
		give(t, s, `{"token":"t","notification":{"title":"b"},"data":{"bal_id":"n2"}}`)
		give(t, s, `{"token":"t","data":{"bal_id":"now or never"},"android":{"ttl":"0s"}}`)
		give(t, s, `{"token":"t","data":{"bal_id":"short"},"android":{"ttl":"60s"}}`)
		give(t, s, `{"token":"t","data":{"bal_id":"long"}}`)
		d := report(t, s, "t")
		equal(t, "waiting", d.Waiting, 6)
		equal(t, "received", d.Received, 0)
		time.Sleep(time.Minute)
		s.SetOnline("t", true)
		d = report(t, s, "t")
		var got []string
		for _, r := range d.Last {
			got = append(got, r.BalID)
		}
		equal(t, "received", fmt.Sprint(got), "[key2 key3 key4 n2 long]")
		equal(t, "collapsed", d.Collapsed, 6)
		equal(t, "expired", d.Expired, 2)

		s.SetOnline("t", false)
		for i := range 101 {
			give(t, s, fmt.Sprintf(`{"token":"t","data":{"bal_id":"%d"}}`, i))
		}
		s.SetOnline("t", true)
		d = report(t, s, "t")
		equal(t, "discarded", d.Discarded, 101)
		equal(t, "deleted", d.Deleted, 1)
		equal(t, "received", d.Received, 5)
	})
}

// Collapsible messages over 20 come later: one every three minutes.
func TestThrottle(t *testing.T) {
	bubble(t, Options{Throttle: true}, func(t *testing.T, s *Server, _ *link) {
		for i := range 23 {
			give(t, s, fmt.Sprintf(`{"token":"t","data":{"bal_id":"%d"},"android":{"collapse_key":"k%d"}}`, i, i))
		}
		give(t, s, `{"token":"t","data":{"k":"does not collapse"}}`)
		equal(t, "at once", report(t, s, "t").Received, 21)
		time.Sleep(3 * time.Minute)
		equal(t, "one more", report(t, s, "t").Received, 22)
		time.Sleep(6 * time.Minute)
		equal(t, "all", report(t, s, "t").Received, 24)
	})
}

// Memory is bounded: the oldest messages of a device go, and more targets than the
// limit are only counted.
func TestRemember(t *testing.T) {
	s := newServer(t, Options{Remember: 2})
	for i := range 5 {
		give(t, s, fmt.Sprintf(`{"token":"t","data":{"bal_id":"%d"}}`, i%3))
	}
	d := report(t, s, "t")
	equal(t, "received", d.Received, 5)
	equal(t, "remembered", len(d.Last), 2)
	equal(t, "seen", len(s.devices["t"].seen), 2)
	s = newServer(t, Options{})
	for i := range 150 {
		give(t, s, fmt.Sprintf(`{"token":"t","data":{"bal_id":"%d"}}`, i))
	}
	d = report(t, s, "t")
	equal(t, "ids", d.Last[0].BalID, "0")
	equal(t, "old data", len(d.Last[49].Data), 0)
	equal(t, "new data", len(d.Last[50].Data), 1)
	s.order = make([]*device, maxDevices)
	give(t, s, `{"token":"other"}`)
	equal(t, "forgotten", s.Counts().Forgotten, 1)
	s.order = s.order[:0]
}

// bubble runs f in a synctest bubble, with a server whose connections are pipes.
func bubble(t *testing.T, o Options, f func(*testing.T, *Server, *link)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		o.Listener = l
		s, err := NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		f(t, s, l)
	})
}
