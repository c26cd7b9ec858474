package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
)

// P5, P8, P10: an upstream that kills its plugin each time is a suspect after
// three crashes and tried alone: in a second process, while the first one serves
// on, or, where two can't run, in the only one. Then it goes to the dead letters
// with the crash as its reason, and its lane goes on. What was in flight beside
// it is handled; nothing is lost, doubled or out of order. Replayed when the
// plugin can stand it, it is handled too.
func TestSuspect(t *testing.T) {
	for strategy, restarts := range map[string]int{"handover": 3, "recreate": 4} {
		t.Run(strategy, func(t *testing.T) { suspect(t, strategy, restarts) })
	}
}

// suspect runs one world; restarts are those of the process that serves.
func suspect(t *testing.T, strategy string, restarts int) {
	const phone, upstreams, poison, crashes = "phone", 10, 3, 3
	w := newWorld(t)
	calm := filepath.Join(w.dir, "calm")
	write(t, filepath.Join(w.dir, "config.hcl"), usualConfig+fmt.Sprintf(`
plugin "scribe" {
  suspect_after = %d
  strategy      = %q
  config        = { book = %q, work = "20ms", calm = %q }
  restart_backoff {
    min = "10ms"
    max = "50ms"
  }
}
`, crashes, strategy, w.bookFile(), calm), 0o600)
	w.start()
	w.flows("")
	for n := 1; n <= upstreams; n++ {
		data := map[string]string{"n": fmt.Sprint(n)}
		if n == poison {
			data["do"] = "crash"
		}
		w.sim.Upstream(phone, "com.example.echo", data)
	}
	answers := func(want ...string) {
		t.Helper()
		var got []string
		if !eventually(func() bool { got = w.answersTo(phone); return len(got) >= len(want) }) || !slices.Equal(got, want) {
			t.Fatalf("the phone has the answers %q, want %q\n%s", got, want, w.host.tail())
		}
	}
	answers("1", "2", "4", "5", "6", "7", "8", "9", "10")

	ready, err := w.host.says(started)
	if err != nil {
		t.Fatal(err)
	}
	client := admin.NewClient(ready[1], "")
	defer client.Close()
	var letters []entry.DeadLetter
	if err := client.AllDead(context.Background(), entry.DeadFilter{}, func(l entry.DeadLetter) error { letters = append(letters, l); return nil }); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("the plugin died %d times while it handled this event, the last time alone: exited with status 5", crashes+1)
	if len(letters) != 1 || letters[0].From != phone || !strings.HasPrefix(letters[0].Reason, want) {
		t.Fatalf("dead letters %+v, want one of the phone with the reason %q", letters, want)
	}
	if p := w.until("it has run since", func(p admin.Plugin) bool { return p.State == "running" && p.Suspects == 0 }); p.Restarts != restarts {
		t.Errorf("the process that serves was started again %d times, want %d", p.Restarts, restarts)
	}
	tried := handlingsOf(w.book(), phone, poison)
	if len(tried) != crashes+1 || tried[crashes].beside != 0 {
		t.Errorf("the poison was handled so: %+v; want it %d times, the last time alone", tried, crashes+1)
	}

	write(t, calm, "", 0o600)
	if did, err := client.Replay(context.Background(), []string{letters[0].ID}); err != nil || did.Done != 1 {
		t.Fatalf("replayed %d: %v", did.Done, err)
	}
	answers("1", "2", "4", "5", "6", "7", "8", "9", "10", "3")
	w.settles()
	var order []int
	for _, h := range w.book() {
		if h.device == phone && h.what == "begin" {
			order = append(order, h.n)
		}
	}
	if order = slices.Compact(order); !slices.Equal(order, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 3}) {
		t.Errorf("the phone's lane was handled in the order %v", order)
	}
	w.judgeLanes(slices.DeleteFunc(w.book(), func(h handling) bool { return h.device == phone }))
}

// answersTo are the numbers that a device was answered, as they came; an answer
// that came again under its id is none.
func (w *world) answersTo(token string) (numbers []string) {
	w.t.Helper()
	d, _ := w.sim.Device(token)
	for _, r := range d.Last {
		var data struct{ N string }
		if err := json.Unmarshal(r.Data, &data); err != nil {
			w.t.Fatalf("%s got %s: %v", token, r.Data, err)
		}
		if !r.Duplicate {
			numbers = append(numbers, data.N)
		}
	}
	return numbers
}

// attempt is one handling of an upstream that began.
type attempt struct {
	instance string
	beside   int // handlings that its process had begun and not ended
}

// handlingsOf finds the handlings of one upstream, as they came.
func handlingsOf(book []handling, device string, n int) (attempts []attempt) {
	open := map[string]int{} // by process
	for _, h := range book {
		if h.what == "end" {
			open[h.instance]--
			continue
		}
		if h.device == device && h.n == n {
			attempts = append(attempts, attempt{h.instance, open[h.instance]})
		}
		open[h.instance]++
	}
	return attempts
}
