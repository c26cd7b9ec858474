package fcmv1

import (
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/fcmsim"
)

// G 2: 1,000 are due at a cold start: at most twice as many dials as connections, never
// more streams than FCM allows, and nothing is lost.
func TestColdStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fcmsim.Options{AnswerDelay: fcmsim.Range{Min: 50 * time.Millisecond}}, nil)
		defer w.stop()
		time.Sleep(5 * time.Minute) // FCM has closed what idled
		before := w.server.Counts().Connections
		w.ledger.acceptAll(1000)
		if n := w.acked(1000, time.Minute); n != 1000 {
			t.Errorf("%d attempts", n)
		}
		c := w.server.Counts()
		if dials := c.Connections - before; dials > 8 || c.OverStreams > 0 || c.MostStreams > 400 || c.Lost > 0 {
			t.Errorf("%d dials; %+v", dials, c)
		}
		w.once(1000)
	})
}

// The check of the account has a place in the window too, so that a backlog at the start
// makes no request for which net/http would dial.
func TestBacklogAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fcmsim.Options{AnswerDelay: fcmsim.Range{Min: 50 * time.Millisecond}}, func(o *Options) { o.Rate = 100_000 })
		defer w.stop()
		w.ledger.acceptAll(3000)
		w.acked(3000, time.Minute)
		if c, window := w.server.Counts(), w.session.Status().Window; c.MostStreams > 400 || window != 400 {
			t.Errorf("%d requests at once, and then a window of %d", c.MostStreams, window)
		}
	})
}

// G 2: a connection that FCM ends in each of its ways loses nothing, and what it did not
// act on goes again without an attempt.
func TestGoAway(t *testing.T) {
	for _, c := range []struct {
		name     string
		goAway   fcmsim.GoAway
		attempts bool // some count
	}{
		{"politely", fcmsim.GoAway{}, false},
		{"with requests above the last id", fcmsim.GoAway{Drop: 50}, false},
		{"too many streams", fcmsim.GoAway{Code: "ENHANCE_YOUR_CALM", Text: "exceeded_max_concurrent_streams"}, true},
		{"an error", fcmsim.GoAway{Code: "INTERNAL_ERROR", Drop: 30}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fcmsim.Options{AnswerDelay: fcmsim.Range{Min: 50 * time.Millisecond, Max: 200 * time.Millisecond}}, nil)
				defer w.stop()
				time.Sleep(time.Second) // there is a token
				w.ledger.acceptAll(1000)
				time.Sleep(120 * time.Millisecond)
				if n, err := w.server.GoAway(c.goAway); err != nil || n == 0 {
					t.Fatal(n, err)
				}
				n := w.acked(1000, 5*time.Minute)
				if (n > 1000) != c.attempts {
					t.Errorf("%d attempts for 1000; %+v", n, w.server.Counts())
				}
				w.once(1000)
			})
		})
	}
}

// Connections that break lose nothing, whatever was on the way. A link that is dead and
// says nothing is found by pings.
func TestBrokenLinks(t *testing.T) { // P3
	for _, mode := range []fcmsim.CutMode{fcmsim.CutFIN, fcmsim.CutRST, fcmsim.CutBlackhole} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fcmsim.Options{AnswerDelay: fcmsim.Range{Min: 50 * time.Millisecond}}, nil)
				defer w.stop()
				time.Sleep(time.Second) // there is a token
				w.ledger.acceptAll(500)
				time.Sleep(80 * time.Millisecond)
				if n, err := w.server.Cut(fcmsim.Cut{Mode: mode}); err != nil || n == 0 {
					t.Fatal(n, err)
				}
				w.acked(500, 10*time.Minute)
				w.once(500)
				if mode == fcmsim.CutBlackhole && w.server.Counts().Connections < 2 {
					t.Error("the dead link was kept")
				}
			})
		})
	}
}

// FCM's limit of streams is kept however low it is.
func TestFewStreams(t *testing.T) {
	for _, limit := range []int{1, 7} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fcmsim.Options{MaxStreams: limit, AnswerDelay: fcmsim.Range{Min: 50 * time.Millisecond}}, func(o *Options) { o.Rate = 8000 })
			defer w.stop()
			w.ledger.acceptAll(3000)
			if n := w.acked(3000, 5*time.Minute); n != 3000 {
				t.Errorf("%d streams: %d attempts", limit, n)
			}
			w.once(3000)
			if c := w.server.Counts(); c.Connections > 100 {
				t.Errorf("%d streams: %+v", limit, c)
			}
		})
	}
}
