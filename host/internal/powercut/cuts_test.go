package powercut

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The flags of the series. TestPowercut passes them on.
var (
	cuts   = flag.Int("cuts", 30, "how many power cuts")
	seed   = flag.Uint64("seed", 0, "of the dice; 0: another one each time")
	names  = flag.String("names", "ordered", "what a cut leaves of names: ordered, own or strict")
	within = flag.String("within", "", "the folder to work in; it keeps what a cut left that was found bad")
)

// TestCuts cuts the power of ledgers while they work, recover or stop. Each time it
// opens what is left. // P1 P2 P4 P6 P7 P8
func TestCuts(t *testing.T) {
	if !layered {
		t.Skip("needs the layer: TestPowercut builds it")
	}
	s := &series{seed: *seed, names: Names(slices.Index(allNames, *names)), dir: *within}
	if s.seed == 0 {
		s.seed = uint64(time.Now().UnixNano())
	}
	s.dice = rand.New(rand.NewPCG(s.seed, 0))
	fmt.Printf("%d cuts, seed %d, names %s\n", *cuts, s.seed, s.names)
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for !s.enough() {
				s.chain()
			}
		})
	}
	group.Wait()
	fmt.Printf("ok: %d cuts, of which %d in a recovery and %d in a stop; %d upstreams stored, %d tables made, %d segments used again\n",
		s.made.Load(), s.recovering.Load(), s.stopping.Load(), s.stored.Load(), s.tables.Load(), s.reused.Load())
}

// series is all cuts of one run.
type series struct {
	seed  uint64
	names Names
	dir   string

	mu   sync.Mutex // guards dice
	dice *rand.Rand

	number               atomic.Int64 // source of unique numbers
	made                 atomic.Int64 // cuts
	recovering, stopping atomic.Int64 // cuts in a recovery, in a stop
	stored               atomic.Int64
	tables, reused       atomic.Int64
	steps                atomic.Int64 // number of events in the last recovery
}

func (s *series) enough() bool { return s.made.Load() >= int64(*cuts) }

func (s *series) rng() *rand.Rand {
	s.mu.Lock()
	defer s.mu.Unlock()
	return rand.New(rand.NewPCG(s.dice.Uint64(), s.dice.Uint64()))
}

// fail ends the process at once, without cleaning up, as a power cut does.
func (s *series) fail(v *life, err error) {
	s.mu.Lock() // never unlocked, so that only the first failure is printed
	fmt.Printf("FAIL at cut %d, seed %d, names %s, in %s; as it was found: %s\n%v\n", s.made.Load(), s.seed, s.names, v.dir, v.found(), err)
	os.Exit(1)
}

// chain works on one ledger after the other. Each goes on with what the last cut left
// of the one before.
func (s *series) chain() {
	rng := s.rng()
	v := &life{series: s, dir: filepath.Join(s.dir, fmt.Sprintf("new%d", s.number.Add(1))), book: newBook()}
	if rng.IntN(2) == 0 {
		v.key = firstKey
	}
	if err := errors.Join(os.Mkdir(v.dir, 0o700), v.open()); err != nil {
		s.fail(v, err)
	}
	for range 10 {
		next := v.worked(rng)
		if v.end(); next == nil {
			return
		}
		if v = next; s.enough() || len(v.book.upstreams) > 5000 {
			break
		}
	}
	v.end()
}

// worked lets all callers work on the ledger and cuts its power several times. It
// returns the ledger that goes on after the last cut.
func (v *life) worked(rng *rand.Rand) (next *life) {
	ended, left := make(chan struct{}), 1+rng.IntN(8)
	v.depth = 0
	v.cutIn(gap(rng), func(at string) {
		if left--; left > 0 && !v.series.enough() {
			v.cutPower(at, (*life).endSlowly)
			v.cutAt.Store(v.events.Load() + gap(rng))
			return
		}
		v.cutPower(at, func(after *life) { next = after })
		close(ended)
	})
	v.start()
	<-ended
	v.stop()
	return next
}

// gap is how many events there are until the next cut.
func gap(rng *rand.Rand) int64 {
	return 1 + int64(rng.IntN([]int{10, 100, 1000}[rng.IntN(3)]))
}

// cutPower cuts the power of a life, opens what is left, looks at it, and hands it to then.
func (v *life) cutPower(at string, then func(*life)) {
	s, rng := v.series, v.series.rng()
	err := v.disk.Cut(rng, func(img Image) error {
		n := s.made.Add(1)
		if n > int64(*cuts) {
			s.made.Add(-1)
			return nil
		}
		after := &life{series: s, dir: filepath.Join(s.dir, fmt.Sprintf("cut%d", n)), book: v.book.clone(), key: v.key, depth: v.depth + 1}
		fmt.Printf("cut %d: of %s, %s\n", n, filepath.Base(v.dir), at)
		err := errors.Join(os.Mkdir(after.dir, 0o700), img.Write(after.dir), os.Mkdir(after.found(), 0o700), img.Write(after.found()))
		if err != nil {
			return err
		}
		after.inspect(rng)
		then(after)
		return os.RemoveAll(after.found())
	})
	if err != nil {
		s.fail(v, err)
	}
}

// inspect opens what a cut left, and compares. Sometimes it cuts the power during that.
func (v *life) inspect(rng *rand.Rand) {
	if v.depth <= 2 && rng.IntN(2) == 0 {
		steps := max(20, v.series.steps.Load())
		v.cutIn(1+rng.Int64N(steps+steps/4), func(at string) {
			v.series.recovering.Add(1)
			v.cutPower(at, (*life).endSlowly)
		})
	}
	if err := v.open(); err != nil {
		v.series.fail(v, err)
	}
	v.series.steps.Store(v.events.Load())
	if err := errors.Join(v.ledger.Verify(context.Background()), v.book.compare(v.ledger)); err != nil {
		v.series.fail(v, err)
	}
	v.cutAt.Store(0)
	if err := v.probe(); err != nil {
		v.series.fail(v, err)
	}
}

// probe works a little on the ledger: an acked message that comes again is known (P6),
// and new seqs and ids were never used before.
func (v *life) probe() error {
	before, again := v.ledger.Counts(), 0
	for id, n := range v.book.upstreams {
		if !n.stored || n.willDie {
			continue
		}
		if err := v.accept(id); err != nil {
			return err
		}
		if again++; again == 5 {
			break
		}
	}
	if c := v.ledger.Counts(); c.Accepted != before.Accepted || int(c.Duplicates-before.Duplicates) != again {
		return fmt.Errorf("of %d upstreams that came again, %d were known", again, c.Duplicates-before.Duplicates)
	}
	id := fmt.Sprintf("probe%d", v.series.number.Add(1))
	v.book.upstream(id, func(*upstreamNote) {})
	if err := v.accept(id); err != nil {
		return err
	}
	v.book.upstream(id, func(n *upstreamNote) { n.stored = true })
	events := v.ledger.Events(0, 1<<30)
	last := events[len(events)-1]
	body, err := v.ledger.Body(last.Seq)
	if err != nil || body.Upstream == nil || body.Upstream.MessageID != id {
		return fmt.Errorf("%s is not the last event, which is %+v: %w", id, last, err)
	}
	if last.Seq <= v.book.lastSeq || body.Upstream.ID <= v.book.lastID {
		return fmt.Errorf("after seq %d and id %s there come %d and %s", v.book.lastSeq, v.book.lastID, last.Seq, body.Upstream.ID)
	}
	v.book.saw(last.Seq, body.Upstream.ID)
	return nil
}

func (v *life) accept(id string) error {
	done := make(chan error, 1)
	v.ledger.Accept(inbound(id), func(err error) { done <- err })
	return <-done
}

// endSlowly stops a ledger. Sometimes it cuts the power during that.
func (v *life) endSlowly() {
	if rng := v.series.rng(); v.depth <= 2 && rng.IntN(3) == 0 {
		v.cutIn(1+rng.Int64N(30), func(at string) {
			v.series.stopping.Add(1)
			v.cutPower(at, (*life).endSlowly)
		})
	}
	v.end()
}

// end stops a ledger and removes it.
func (v *life) end() {
	if err := errors.Join(v.close(), os.RemoveAll(v.dir)); err != nil {
		v.series.fail(v, err)
	}
}
