package feed

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

var sample = Step{
	What: Retried, Kind: Upstream, ID: "01K", MessageID: "m-1", Session: "123", Device: "token-of-a-phone-that-is-long", Category: "orders", Plugin: "shop",
	Attempt: 2, Code: "INTERNAL", Error: "Payment refused", Payload: []byte(`{"k":"v"}`),
}

func reading(t *testing.T, h *Hub, f Filter) *Reader {
	t.Helper()
	r, err := h.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// Without readers a step costs no allocation, and is not even made.
func TestNobodyReadsCostsNothing(t *testing.T) {
	h, none := &Hub{}, (*Hub)(nil)
	told := 0
	if n := testing.AllocsPerRun(1000, func() {
		for _, hub := range []*Hub{h, none} {
			if hub.On() {
				told++
				hub.Tell(sample)
			}
		}
	}); n != 0 || told != 0 {
		t.Errorf("%v allocations and %d steps told, want none", n, told)
	}
	r, _ := h.Read(Filter{})
	if !h.On() {
		t.Error("there is a reader, and the hub is off")
	}
	r.Close()
	if h.On() {
		t.Error("the last reader has gone, and the hub is on")
	}
}

func TestFilters(t *testing.T) {
	for name, f := range map[string]struct {
		Filter
		wanted bool
	}{
		"everything":             {Filter{}, true},
		"what":                   {Filter{What: []What{Dead, Retried}}, true},
		"another what":           {Filter{What: []What{Dead}}, false},
		"kind":                   {Filter{Kinds: []string{Upstream}}, true},
		"another kind":           {Filter{Kinds: []string{Receipt}}, false},
		"device":                 {Filter{Device: sample.Device}, true},
		"device as it is shown":  {Filter{Device: "token-of-a-phone…"}, true},
		"beginning of a device":  {Filter{Device: "token-of"}, true},
		"more than is shown":     {Filter{Device: sample.Device[:17]}, false},
		"another device":         {Filter{Device: sample.Device + "x"}, false},
		"category":               {Filter{Category: "orders"}, true},
		"beginning of category":  {Filter{Category: "order"}, false},
		"plugin":                 {Filter{Plugin: "shop"}, true},
		"another plugin":         {Filter{Plugin: "chat"}, false},
		"session":                {Filter{Session: "123"}, true},
		"another session":        {Filter{Session: "12"}, false},
		"text of the error":      {Filter{Text: "payment REFUSED"}, true},
		"text of the code":       {Filter{Text: "internal"}, true},
		"another text":           {Filter{Text: "timeout"}, false},
		"id of the event":        {Filter{ID: "01K"}, true},
		"id of the message":      {Filter{ID: "m-1"}, true},
		"another id":             {Filter{ID: "m"}, false},
		"all that fits":          {Filter{Plugin: "shop", Category: "orders", Kinds: []string{Upstream}}, true},
		"all but one thing fits": {Filter{Plugin: "shop", Category: "chat", Kinds: []string{Upstream}}, false},
	} {
		h := &Hub{}
		r := reading(t, h, f.Filter)
		h.Tell(sample)
		if steps, _ := r.Take(); (len(steps) == 1) != f.wanted {
			t.Errorf("%s: %d steps, wanted %v", name, len(steps), f.wanted)
		}
	}
}

// A reader that takes nothing loses steps, and hears how many; another one loses none.
func TestSlowReaderLosesItsOwnStepsOnly(t *testing.T) {
	h := &Hub{}
	slow, other := reading(t, h, Filter{}), reading(t, h, Filter{})
	const told = maxSteps + 1000
	var got []Step
	for i := range told {
		s := sample
		s.Attempt = i
		h.Tell(s)
		steps, skipped := other.Take()
		if got = append(got, steps...); skipped != 0 {
			t.Fatalf("the reader that takes all lost %d", skipped)
		}
	}
	if len(got) != told {
		t.Errorf("the reader that takes all got %d of %d", len(got), told)
	}
	steps, skipped := slow.Take()
	if len(steps)+int(skipped) != told || skipped == 0 {
		t.Errorf("the slow reader got %d and lost %d, of %d", len(steps), skipped, told)
	}
	for i, s := range steps {
		if s.Attempt != i {
			t.Fatalf("step %d is the %dth that was told", i, s.Attempt)
		}
	}
	h.Tell(sample)
	if steps, skipped := slow.Take(); len(steps) != 1 || skipped != 0 {
		t.Errorf("after it took all, the slow reader got %d and lost %d, want 1 and 0", len(steps), skipped)
	}
}

// A reader's memory is bounded, whatever the steps are.
func TestReaderIsBounded(t *testing.T) {
	h := &Hub{}
	r := reading(t, h, Filter{Bodies: true})
	huge := Step{What: Stored, Kind: Upstream, Payload: make([]byte, 4<<20), Error: strings.Repeat("e", 1<<20), Device: strings.Repeat("d", 4<<10)}
	for range 2 * maxSteps {
		h.Tell(huge)
	}
	if r.bytes > maxBytes || len(r.steps) > maxSteps {
		t.Errorf("it holds %d steps of %d bytes", len(r.steps), r.bytes)
	}
	steps, skipped := r.Take()
	if len(steps)+int(skipped) != 2*maxSteps {
		t.Errorf("%d steps and %d skipped, of %d", len(steps), skipped, 2*maxSteps)
	}
	if s := steps[0]; len(s.Body) > maxBody || s.BodyBytes != 4<<20 || len(s.Error) > maxBody+4 {
		t.Errorf("a step has a body of %d bytes (said to be of %d), and an error of %d", len(s.Body), s.BodyBytes, len(s.Error))
	}
}

// Only who asked for bodies gets them, and they are copies.
func TestBodies(t *testing.T) {
	h := &Hub{}
	with, without := reading(t, h, Filter{Bodies: true}), reading(t, h, Filter{})
	s := sample
	s.Payload = []byte(`{"pin":1}` + "\xff")
	h.Tell(s)
	clear(s.Payload)
	a, _ := with.Take()
	b, _ := without.Take()
	if a[0].Body != `{"pin":1}`+"\uFFFD" || a[0].BodyBytes != 0 || a[0].Payload != nil {
		t.Errorf("with bodies: %+v", a[0])
	}
	if b[0].Body != "" || b[0].BodyBytes != 0 || b[0].Payload != nil {
		t.Errorf("without bodies: %+v", b[0])
	}
	if a[0].ID != s.ID || a[0].Device != s.Device || a[0].Error != s.Error || a[0].Code != s.Code || a[0].Plugin != s.Plugin {
		t.Errorf("the copy is %+v, want %+v", a[0], s)
	}
}

func TestReadersAreBounded(t *testing.T) {
	h := &Hub{}
	for range MaxReaders {
		reading(t, h, Filter{})
	}
	if _, err := h.Read(Filter{}); !errors.Is(err, ErrReaders) || !strings.Contains(err.Error(), "16") {
		t.Errorf("reader %d: %v", MaxReaders+1, err)
	}
	h.readers[3].Close()
	reading(t, h, Filter{})
}

// Engines tell at the same time, while readers come, take and go.
func TestAtTheSameTime(t *testing.T) {
	h := &Hub{}
	all := reading(t, h, Filter{})
	var telling, taking sync.WaitGroup
	done := make(chan struct{})
	for g := range 4 {
		telling.Go(func() {
			for i := range 1000 {
				h.Tell(Step{What: Handed, Kind: Upstream, ID: fmt.Sprint(g), Attempt: i})
			}
		})
		taking.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if r, err := h.Read(Filter{ID: "2"}); err == nil {
					r.Take()
					r.Close()
				}
			}
		})
	}
	telling.Wait()
	close(done)
	taking.Wait()
	steps, skipped := all.Take()
	next := map[string]int{}
	for _, s := range steps {
		if s.Attempt != next[s.ID] {
			t.Fatalf("step %d of %s came, want %d", s.Attempt, s.ID, next[s.ID])
		}
		next[s.ID]++
		if s.At.IsZero() || time.Since(s.At) < 0 {
			t.Fatalf("a step of %v", s.At)
		}
	}
	if len(steps)+int(skipped) != 4000 {
		t.Errorf("%d steps and %d skipped", len(steps), skipped)
	}
}

func BenchmarkTell(b *testing.B) {
	for _, readers := range []int{0, 1, 4} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			h := &Hub{}
			var all []*Reader
			for range readers {
				r, err := h.Read(Filter{})
				if err != nil {
					b.Fatal(err)
				}
				all = append(all, r)
			}
			b.ReportAllocs()
			for i := range b.N {
				if h.On() {
					h.Tell(sample)
				}
				if i%1000 == 999 {
					for _, r := range all {
						r.Take()
					}
				}
			}
		})
	}
}
