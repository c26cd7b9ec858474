package ccs_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/ccs"
	"balhost/host/internal/ccssim"
	"balhost/sdk/message"
)

// rival is another client of the sender. The end stops it, and waits for that.
func (w *whole) rival(pause func(*ccs.Options)) (end func()) {
	o := ccs.Options{
		Name: "rival", Address: "ccs.test:5235", SenderID: w.sender, Key: w.srv.Key(),
		Inbox: nobody{}, Outbox: nobody{}, Dial: w.links.dial,
	}
	pause(&o)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- ccs.New(o).Run(ctx) }()
	return sync.OnceFunc(func() {
		stop()
		if err := <-ended; err != nil {
			w.t.Errorf("the rival ended with %v", err)
		}
	})
}

// Two hosts of one sender push each other's connections off. While that repeats
// they try ever less often, and each says so all the time, connected or not; no
// message pays for it. When the other one is gone, all is well by itself.
func TestRivals(t *testing.T) { // P4, P10; Spec: RFC 6120 §4.9.3.3
	for name, pause := range map[string]func(*ccs.Options){
		"another balhost": func(*ccs.Options) {},
		"one that knows no wait": func(o *ccs.Options) {
			o.Backoff, o.Denied = backoff.Policy{Min: 5 * time.Second, Max: 5 * time.Second}, time.Nanosecond
		},
	} {
		t.Run(name, func(t *testing.T) {
			host(t, plan{server: ccssim.Options{Single: true}}, func(w *whole) {
				s := w.sessions[0]
				end := w.rival(pause)
				defer end()
				w.until("the second push", func() bool { return s.Status().Contest.Times > 1 })
				w.srv.Nack(ccssim.Nack{Token: "held", Count: -1}) // is in flight at each push
				w.send(message.Downstream{To: message.Token("held"), MessageID: "held", Options: message.Options{TTL: message.TTL(24 * time.Hour)}})
				before, sent := w.srv.Counts().Logins, 0
				for range 3 * 3600 {
					time.Sleep(time.Second)
					if w.standing() > 0 { // others get through beside it
						w.sendN("tokA", sent, 1)
						sent++
					}
					if st := s.Status(); !st.Contest.Lasts(time.Now()) {
						t.Fatalf("it is not said: %+v\n%s", st, w.log)
					}
				}
				if n := w.srv.Counts().Logins - before; n > 180 { // of both
					t.Errorf("%d logins in 3 h", n)
				}
				if sent < 36 {
					t.Errorf("connected at %d seconds of 3 h only", sent)
				}
				end()
				w.srv.ClearNacks()
				w.acked(sent + 1)
				w.until("the end of it", func() bool { return !s.Status().Contest.Lasts(time.Now()) && w.standing() == 1 })
				if n := strings.Count(w.log.String(), "push each other"); n != 1 {
					t.Errorf("said %d times:\n%s", n, w.log)
				}
				w.legal()
			})
		})
	}
}

// What happens once is no contest: a host that is moved is pushed off, or pushes
// its own old connection off. Many slots that end at once are one push.
func TestOneConflictIsNoContest(t *testing.T) {
	host(t, plan{session: func(o *ccs.Options) { o.Connections = 5 }}, func(w *whole) {
		s := w.sessions[0]
		w.until("all", func() bool { return w.standing() == 5 })
		for range 3 {
			logins := w.srv.Counts().Logins
			w.srv.StreamError("conflict")
			w.until("all again", func() bool { return w.srv.Counts().Logins == logins+5 && w.standing() == 5 })
			if st := s.Status(); st.Contest.Lasts(time.Now()) {
				t.Fatalf("%+v", st.Contest)
			}
			time.Sleep(15 * time.Minute)
		}
	})
}

// A person who has stopped the other one need not wait.
func TestHurryEndsAContest(t *testing.T) {
	host(t, plan{server: ccssim.Options{Single: true}}, func(w *whole) {
		s := w.sessions[0]
		end := w.rival(func(*ccs.Options) {})
		defer end()
		w.until("a few pushes", func() bool { return s.Status().Contest.Times > 4 && w.standing() == 0 })
		end()
		synctest.Wait()
		s.Hurry()
		began := time.Now()
		w.until("a connection", func() bool { return w.standing() == 1 })
		if st := s.Status(); st.Contest.Lasts(time.Now()) || time.Since(began) > 2*time.Second {
			t.Errorf("after %v: %+v", time.Since(began), st.Contest)
		}
	})
}

// Slots of one session push each other off, where the server keeps one connection
// of a sender: the words name that, too.
func TestSlotsThatAreRivals(t *testing.T) {
	host(t, plan{server: ccssim.Options{Single: true}, session: func(o *ccs.Options) { o.Connections = 3 }}, func(w *whole) {
		s := w.sessions[0]
		w.until("a contest", func() bool { return s.Status().Contest.Lasts(time.Now()) })
		before := w.srv.Counts().Logins
		time.Sleep(2 * time.Hour)
		if n := w.srv.Counts().Logins - before; n > 150 {
			t.Errorf("%d logins in 2 h", n)
		}
		st := s.Status()
		if err := errors.New(st.Contest.String()); !st.Contest.Lasts(time.Now()) || !strings.Contains(err.Error(), "connections = 3") {
			t.Errorf("%+v: %v", st.Contest, err)
		}
	})
}
