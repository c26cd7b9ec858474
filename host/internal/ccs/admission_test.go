package ccs

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/backoff"
)

// What a slot may do, before the session's wait is over and after it.
func TestPermits(t *testing.T) { // P10
	const established, fresh = true, false
	for _, c := range []struct {
		access        access
		up            int
		established   bool
		before, after permit
	}{
		{granted, 1, established, beside, beside},
		{granted, 1, fresh, waits, beside},
		{granted, 0, established, alone, alone},
		{granted, 0, fresh, waits, alone},
		{limited, 1, established, beside, beside},
		{limited, 1, fresh, waits, alone},
		{limited, 0, established, alone, alone},
		{limited, 0, fresh, waits, alone},
		{failing, 0, established, waits, alone},
		{failing, 0, fresh, waits, alone},
	} {
		a, now := admissionOf(2), time.Now()
		a.access, a.up, a.retryAt = c.access, c.up, now.Add(time.Minute)
		a.slots[0].established = c.established
		before, after := a.ask(&a.slots[0], now), a.ask(&a.slots[0], a.retryAt)
		if before != c.before || after != c.after {
			t.Errorf("%s, %d up, established %v: %s, then %s; want %s, then %s", c.access, c.up, c.established, before, after, c.before, c.after)
		}
		other := waits
		if c.after == beside {
			other = beside
		}
		a.slots[1] = a.slots[0]
		if p := a.ask(&a.slots[1], a.retryAt); p != other {
			t.Errorf("%s, %d up, established %v: the first %s, the second %s", c.access, c.up, c.established, after, p)
		}
	}
}

// Stories of slots. Each line is what happens, and what follows: to a question the
// permit, and for how long it waits if that is known; to all else the access.
func TestAdmission(t *testing.T) { // P10; ccs-protocol.md §7, §12 (i)
	for name, story := range map[string]string{
		"the first slot tries alone, then all beside": `
			1 asks: alone
			2 asks: waits
			3 asks: waits
			1 in: granted
			2 asks: beside
			3 asks: beside`,
		"a wrong key: one slot tries, ever less often": `
			1 asks: alone
			2 asks: waits
			1 denied: failing
			1 asks: waits 30s
			2 asks: waits 30s
			30s later
			2 asks: alone
			1 asks: waits
			2 denied: failing
			1 asks: waits 1m0s
			1m later
			1 asks: alone
			1 denied: failing
			2 asks: waits 2m0s`,
		"no network: the same, with shorter waits": `
			1 asks: alone
			1 unreached: failing
			2 asks: waits 1s
			1s later
			2 asks: alone
			2 unreached: failing
			1 asks: waits 2s
			2s later
			1 asks: alone
			1 in: granted
			2 asks: beside`,
		"a key that was good and is denied": `
			1 asks: alone
			1 in: granted
			2 asks: beside
			2 in: granted
			1 denied 1h: limited
			2 denied 1h: failing
			1 asks: waits 30s
			2 asks: waits 30s`,
		"the network breaks: each slot has its backoff, then one tries alone": `
			1 asks: alone
			1 in: granted
			2 asks: beside
			2 in: granted
			1 lost 1h: granted
			2 lost 1h: granted
			2 asks: waits 1s
			1s later
			2 asks: alone
			1 asks: waits
			2 unreached: failing
			1 asks: waits 1s
			1s later
			1 asks: alone
			1 in: limited
			2 asks: alone
			2 in: granted`,
		"over CCS's limit: one slot asks, the others are replaced at once": `
			1 asks: alone
			1 in: granted
			2 asks: beside
			3 asks: beside
			2 in: granted
			3 denied: limited
			3 asks: waits 30s
			1 drained 10s: limited
			1 asks: beside
			1 in: limited
			2 lost 1m: limited
			2 asks: waits 1s
			1s later
			2 asks: beside
			2 in: limited
			29s later
			3 asks: alone
			3 denied: limited
			3 asks: waits 1m0s`,
		"CCS counts what drains: a place is free when that is closed": `
			1 asks: alone
			1 in: granted
			1 drained 10s: granted
			1 asks: beside
			1 denied: limited
			1 asks: waits 30s
			1 closed: limited
			1 asks: waits 1s
			1s later
			1 asks: alone
			1 in: granted`,
		"a try that fails beside the one that counted adds no wait": `
			1 asks: alone
			1 in: granted
			2 asks: beside
			3 asks: beside
			2 denied: limited
			10s later
			3 denied: limited
			3 asks: waits 20s
			2 asks: waits 20s`,
		"a server that drains all it lets in": `
			1 asks: alone
			1 in: granted
			1 drained 1s: granted
			1 asks: beside
			1 in: granted
			1 drained 1s: granted
			1 asks: waits 1s
			1s later
			1 asks: beside
			1 in: granted
			1 drained 1s: granted
			1 asks: waits 2s
			2s later
			1 asks: beside
			1 in: granted
			1 drained 1h: granted
			1 asks: beside`,
		"a downstream that ends connections makes no wait grow": `
			1 asks: alone
			1 in: granted
			1 blamed 1s: granted
			1 asks: waits 1s
			1s later
			1 asks: alone
			1 in: granted
			1 blamed 1s: granted
			1 asks: waits 1s`,
		"another client of the sender": `
			1 asks: alone
			1 in: granted
			1 pushed 1h: granted
			1 asks: waits 1s
			1s later
			1 asks: alone
			1 in: granted
			2s later
			1 pushed 2s: granted
			1 asks: waits 30s
			30s later
			1 asks: alone
			1 in: granted
			2s later
			1 pushed 2s: granted
			1 asks: waits 1m0s
			hurry: true
			1 asks: alone`,
		"a person is in a hurry": `
			hurry: false
			1 asks: alone
			1 denied: failing
			1 asks: waits 30s
			hurry: true
			1 asks: alone
			2 asks: waits
			1 in: granted
			2 asks: beside
			2 in: granted
			1 lost 1s: granted
			1 asks: waits 1s
			hurry: true
			1 asks: beside`,
		"the one that tries alone has to wait again: another may": `
			1 asks: alone
			1 in: granted
			2 asks: beside
			3 asks: beside
			1 lost 1h: granted
			1s later
			1 asks: alone
			2 unreached: failing
			1 asks: waits 1s
			1s later
			3 asks: alone
			1 asks: waits`,
	} {
		a, now := admissionOf(3), time.Now()
		in := map[*slot]bool{}
		for i, line := range strings.Split(strings.TrimSpace(story), "\n") {
			does, want, _ := strings.Cut(strings.TrimSpace(line), ": ")
			got := ""
			words := strings.Fields(does)
			switch {
			case words[0] == "hurry":
				got = fmt.Sprint(a.hurry(now))
			case words[1] == "later":
				now = now.Add(duration(t, words[0]))
			default:
				n, err := strconv.Atoi(words[0])
				if err != nil {
					t.Fatal(line)
				}
				sl := &a.slots[n-1]
				switch words[1] {
				case "asks":
					got = string(a.ask(sl, now))
					if opens := a.opens(sl); opens.After(now) {
						got += " " + opens.Sub(now).String()
					}
				case "in":
					a.letIn(sl)
					in[sl] = true
					got = string(a.access)
				case "closed": // after it drained
					a.gone(Draining, now)
					got = string(a.access)
				default:
					lasted := time.Duration(0)
					if len(words) > 2 {
						lasted = duration(t, words[2])
					}
					how := ending(words[1])
					if in[sl] && how != drained {
						a.gone(Ready, now)
					}
					in[sl] = false
					a.ended(sl, how, lasted, now)
					got = string(a.access)
				}
			}
			if got != want {
				t.Errorf("%s: line %d %q: %s", name, i+1, line, got)
			}
		}
	}
}

func duration(t *testing.T, text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Whatever happens in whatever order: one slot at most tries alone, none tries
// before its time, and whoever waits has a reason to. That is a time, or another slot
// that tries alone; when it is over, changed is closed.
func TestNobodyWaitsForNothing(t *testing.T) { // P10
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		a, now := admissionOf(4), time.Now()
		type seat struct {
			state        State
			permit       permit
			asked, opens time.Time
			changed      chan struct{}
		}
		seats := make([]seat, len(a.slots))
		for i := range seats {
			seats[i].state = Waiting
		}
		ask := func(i int) {
			st, sl := &seats[i], &a.slots[i]
			st.permit = a.ask(sl, now)
			st.asked, st.opens, st.changed = now, a.opens(sl), a.changed
			if st.permit != waits {
				if st.opens.After(now) {
					t.Fatalf("seed %d: slot %d tries %v too early", seed, i, st.opens.Sub(now))
				}
				st.state = Dialing
			}
		}
		settle := func() { // as those that wait do
			for again := true; again; {
				again = false
				for i := range seats {
					st := &seats[i]
					if st.state != Waiting {
						continue
					}
					woken := st.changed == nil || st.opens.After(st.asked) && !st.opens.After(now)
					select {
					case <-st.changed:
						woken = true
					default:
					}
					if !woken {
						peek, opens := *a, a.opens(&a.slots[i])
						peek.changed = make(chan struct{})
						if p := peek.ask(&a.slots[i], now); p != waits || opens.Before(st.opens) {
							t.Fatalf("seed %d: slot %d was not woken, and %s %v sooner", seed, i, p, st.opens.Sub(opens))
						}
						continue
					}
					ask(i)
					again = true
				}
			}
		}
		for range 200 {
			settle()
			for i, st := range seats {
				tries := st.state == Dialing && st.permit == alone
				if tries != (a.alone == &a.slots[i]) {
					t.Fatalf("seed %d: slot %d tries alone: %v, and another one: %v", seed, i, tries, a.alone != nil)
				}
				if st.state == Waiting && !st.opens.After(now) && a.alone == nil {
					t.Fatalf("seed %d: slot %d waits for nothing", seed, i)
				}
			}
			i := rnd.IntN(len(seats))
			st, sl := &seats[i], &a.slots[i]
			lasted := time.Duration(rnd.Int64N(int64(2 * time.Minute)))
			switch again := func(how ending) { a.ended(sl, how, lasted, now); *st = seat{state: Waiting} }; {
			case st.state == Dialing && rnd.IntN(3) == 0: // as after the wait for its turn
				if ask(i); st.permit == waits {
					st.state = Waiting
				}
			case st.state == Dialing && rnd.IntN(2) == 0:
				a.letIn(sl)
				st.state = Ready
			case st.state == Dialing:
				again([]ending{unreached, denied}[rnd.IntN(2)])
			case st.state == Ready && rnd.IntN(3) == 0:
				again(drained)
			case st.state == Ready:
				a.gone(Ready, now)
				again([]ending{blamed, lost, pushed, denied}[rnd.IntN(4)])
			case rnd.IntN(20) == 0:
				a.hurry(now)
			default:
				now = now.Add(time.Duration(rnd.Int64N(int64(20 * time.Second))))
			}
			if draining := a.up - count(seats, func(s seat) bool { return s.state == Ready }); draining > 0 && rnd.IntN(4) == 0 {
				a.gone(Draining, now)
			}
		}
	}
}

func count[T any](all []T, is func(T) bool) (n int) {
	for _, x := range all {
		if is(x) {
			n++
		}
	}
	return n
}

// admissionOf has waits that are the longest that there may be.
func admissionOf(slots int) *admission {
	o := Options{Connections: slots, Backoff: backoff.Policy{Min: time.Second, Max: 5 * time.Minute}}.withDefaults()
	a := newAdmission(&o)
	longest := rand.New(ones{})
	a.patience.rnd, a.contest.patience.rnd = longest, longest
	for i := range a.slots {
		a.slots[i].patience.rnd = longest
	}
	return a
}

type ones struct{}

func (ones) Uint64() uint64 { return 1<<64 - 1 }
