package admin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
)

// tailed is a server whose tail reads a hub.
type tailed struct {
	*Server
	hub   *feed.Hub
	stop  func()
	ended chan error // gets what Run returns
}

func serveTail(t *testing.T) *tailed {
	t.Helper()
	w := &tailed{hub: &feed.Hub{}, ended: make(chan error, 1)}
	f := (&host{}).functions()
	f.Tail = func(q TailQuery) (Tailing, error) {
		if q.Session == "none" {
			return nil, entry.NoSuch("there is no session %q; there are fcm", q.Session)
		}
		return w.hub.Read(feed.Filter{What: q.What, Kinds: q.Kinds, Device: q.Device, Plugin: q.Plugin, Bodies: q.Bodies})
	}
	f.Series = func() Series {
		return Series{StepSeconds: 5, Times: []int64{10, 15}, Plugins: []PluginSeries{{Name: "echo", Handled: Points{math.NaN(), 2.0 / 3}}}}
	}
	s, err := Listen(Options{Listen: "127.0.0.1:0", Functions: f, Metrics: prometheus.NewRegistry(), Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.Server, w.stop = s, cancel
	done := make(chan struct{})
	go func() { defer close(done); w.ended <- s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

// tell tells the hub a step when somebody reads.
func (w *tailed) tell(t *testing.T, s feed.Step) {
	t.Helper()
	w.await(t, true)
	w.hub.Tell(s)
}

func (w *tailed) await(t *testing.T, on bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); w.hub.On() != on; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the hub has readers: %v, want %v", w.hub.On(), on)
		}
	}
}

// tail follows in the background. Events come to the channel; it is closed at the end, and why gets the reason.
func (w *tailed) tail(ctx context.Context, t *testing.T, q TailQuery) (events <-chan TailEvent, why <-chan error) {
	t.Helper()
	c := NewClient(w.Addr(), "")
	t.Cleanup(c.Close)
	out, end := make(chan TailEvent, 10_000), make(chan error, 1)
	go func() {
		defer close(out)
		end <- c.Tail(ctx, q, func(e TailEvent) error { out <- e; return nil })
	}()
	if e := <-out; e.Hello == nil || !strings.Contains(e.Hello.Note, "Last-Event-ID") {
		t.Fatalf("the first event is %+v", e)
	}
	return out, end
}

const longToken = "cXyZ-0123456789-abcdefghijklmnop:APA91bVeryLongToken"

// Steps come in order, by the filters that the query names, with tokens that are shortened.
func TestTail(t *testing.T) {
	w := serveTail(t)
	events, _ := w.tail(t.Context(), t, TailQuery{Kinds: []string{feed.Upstream}, What: []feed.What{feed.Stored, feed.Handled}, Plugin: ""})
	for _, s := range []feed.Step{
		{What: feed.Stored, Kind: feed.Upstream, ID: "1", Device: longToken, Category: "a\nb\x1b[2J", Payload: []byte(`{"pin":"1234"}`)},
		{What: feed.Handed, Kind: feed.Upstream, ID: "1"},
		{What: feed.Handled, Kind: feed.Downstream, ID: "1"},
		{What: feed.Handled, Kind: feed.Upstream, ID: "1", Took: 1.5, Attempt: 2},
	} {
		w.tell(t, s)
	}
	first, second := (<-events).Step, (<-events).Step
	if first.What != feed.Stored || first.Device != longToken[:16]+"…" || first.Category != "a\nb\x1b[2J" || first.Body != "" || first.At.IsZero() {
		t.Errorf("first: %+v", first)
	}
	if second.What != feed.Handled || second.ID != "1" || second.Took != 1.5 || second.Attempt != 2 {
		t.Errorf("second: %+v", second)
	}
}

// What goes over the wire is one line for each event, and no token is whole, nor a body there, unless they were asked for.
func TestTailOnTheWire(t *testing.T) {
	w := serveTail(t)
	for query, want := range map[string]struct{ whole, body bool }{
		"":                          {false, false},
		"?full=true":                {true, false},
		"?bodies=true":              {false, true},
		"?bodies=true&full=true":    {true, true},
		"?kind=upstream,timer":      {false, false},
		"?what=stored&bodies=false": {false, false},
	} {
		resp, err := http.Get("http://" + w.Addr() + "/v1/tail" + query)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("%s: content type %q", query, got)
		}
		w.tell(t, feed.Step{What: feed.Stored, Kind: feed.Upstream, Device: longToken, Category: "\x1b[2J\u202e", Payload: []byte("{\n\n\"pin\": 77777}")})
		var text []string
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if text = append(text, lines.Text()); strings.HasPrefix(lines.Text(), "data: {") && strings.Contains(lines.Text(), "stored") {
				break
			}
		}
		resp.Body.Close()
		w.await(t, false)
		if len(text) != 5 || text[0] != "event: hello" || text[3] != "event: step" {
			t.Errorf("%s: %q", query, text)
		}
		step := text[len(text)-1]
		if whole := strings.Contains(step, longToken); whole != want.whole {
			t.Errorf("%s: the token is whole: %v", query, whole)
		}
		if body := strings.Contains(step, "77777"); body != want.body {
			t.Errorf("%s: the body is there: %v", query, body)
		}
		if strings.ContainsAny(step, "\x1b\u202e") {
			t.Errorf("%s: what moves a terminal: %q", query, step)
		}
	}
}

// A wrong query and too many readers get an answer that says what to do.
func TestTailRefuses(t *testing.T) {
	w := serveTail(t)
	for range feed.MaxReaders {
		w.tail(t.Context(), t, TailQuery{})
	}
	for query, want := range map[string]struct {
		code int
		text string
	}{
		"":               {http.StatusServiceUnavailable, "16 read the live tail"},
		"?what=eaten":    {http.StatusBadRequest, "want one or more of stored,duplicate"},
		"?kind=letter":   {http.StatusBadRequest, "want one or more of upstream,"},
		"?bodies=maybe":  {http.StatusBadRequest, "want true or false"},
		"?session=none":  {http.StatusNotFound, "there are fcm"},
		"?plugins=echo":  {http.StatusBadRequest, "do you mean plugin?"},
		"?device=&full=": {http.StatusServiceUnavailable, "16"},
	} {
		resp, err := http.Get("http://" + w.Addr() + "/v1/tail" + query)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want.code || !strings.Contains(string(b), want.text) {
			t.Errorf("%s: %d %s", query, resp.StatusCode, b)
		}
	}
	c := NewClient(w.Addr(), "")
	defer c.Close()
	if err := c.Tail(t.Context(), TailQuery{}, nil); err == nil || !strings.Contains(err.Error(), "16 read the live tail") {
		t.Errorf("the client says %v", err)
	}
}

// A reader that takes nothing loses steps and hears how many. Nobody waits for it.
func TestTailOfASlowReader(t *testing.T) {
	w := serveTail(t)
	hold, gone := make(chan struct{}), make(chan struct{})
	c := NewClient(w.Addr(), "")
	defer c.Close()
	got, skipped := 0, uint64(0)
	last := feed.Step{What: feed.Dead, Kind: feed.Upstream}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		defer close(gone)
		c.Tail(ctx, TailQuery{}, func(e TailEvent) error { //nolint:errcheck // io.EOF
			switch {
			case e.Hello != nil:
				<-hold
			case e.Step != nil && e.Step.What == last.What:
				return io.EOF
			case e.Step != nil:
				got++
			}
			skipped += e.Skipped
			return nil
		})
	}()
	const told = 200_000 // more than the sockets' buffers hold
	for range told {
		w.tell(t, feed.Step{What: feed.Stored, Kind: feed.Upstream, Error: strings.Repeat("x", 1000)})
	}
	close(hold)
	for ended := false; !ended; { // until it took the last one
		w.hub.Tell(last)
		select {
		case <-gone:
			ended = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	if skipped == 0 || got+int(skipped) < told {
		t.Errorf("%d steps came and %d were skipped, of %d", got, skipped, told)
	}
}

// Whoever hangs up makes room for another reader.
func TestTailReaderHangsUp(t *testing.T) {
	w := serveTail(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, why := w.tail(ctx, t, TailQuery{})
	w.await(t, true)
	cancel()
	if err := <-why; !errors.Is(err, context.Canceled) {
		t.Errorf("Tail ended with %v", err)
	}
	w.await(t, false)
}

// When the host stops, a tail ends by itself, and at once: also that of a reader that takes nothing.
func TestTailEndsWithTheHost(t *testing.T) {
	w := serveTail(t)
	events, why := w.tail(t.Context(), t, TailQuery{})
	last := make(chan TailEvent, 1)
	go func() {
		var e TailEvent
		for e = range events {
		}
		last <- e
	}()
	stuck, err := net.Dial("tcp", w.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	if _, err := io.WriteString(stuck, "GET /v1/tail HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for range 100_000 { // its socket is full: a write of the server waits
		w.hub.Tell(feed.Step{What: feed.Stored, Kind: feed.Upstream, Error: strings.Repeat("x", 1000)})
	}
	t.Logf("told in %s", time.Since(begin))
	begin = time.Now()
	w.stop()
	if err := <-w.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(begin); took >= shutdownTime {
		t.Errorf("the stop took %s", took)
	}
	if e, err := <-last, <-why; e.Ended == nil || !errors.Is(err, io.EOF) {
		t.Errorf("the last event is %+v, and Tail ended with %v", e, err)
	}
}

// A point that is not known is null, there and back.
func TestSeries(t *testing.T) {
	w := serveTail(t)
	resp, err := http.Get("http://" + w.Addr() + "/v1/series")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if text := string(b); !strings.Contains(text, `"handled":[null,0.67]`) || !strings.Contains(text, `"sessions":[]`) || !strings.Contains(text, `"times":[10,15]`) {
		t.Error(text)
	}
	var p Points
	if err := p.UnmarshalJSON([]byte(`[null,0.67]`)); err != nil || len(p) != 2 || !math.IsNaN(p[0]) || p[1] != 0.67 {
		t.Errorf("%v, %v", p, err)
	}
}
