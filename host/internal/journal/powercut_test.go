package journal

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"balhost/host/internal/keyfile"
)

// book is what the journal said, and so must have after any end.
type book struct {
	records     map[uint64][]byte
	first, last uint64 // 0 when it is empty

	begin uint64 // an empty one is to begin with this commit
	even  bool   // all records have the same size, so that what is left of one may fit behind another
	key   *keyfile.Key

	// What was under way at the end may have happened, or a part of it.
	appending [][]byte
	trimming  uint64
	cutting   uint64
}

// TestPowerCuts // P0, P1, P2
//
// Each round opens the journal, does something, and ends at a random operation on
// the disk: with a power cut, with a killed process, or because a sync failed. What
// was said to be durable must be there at the next round, and nothing else.
func TestPowerCuts(t *testing.T) {
	cuts, kills, duringOpen, failed := 0, 0, 0, ""
	count := func() string {
		return fmt.Sprintf("%d power cuts, %d kills; %d of them while opening", cuts, kills, duringOpen)
	}
	defer func() { t.Log(cmp.Or(failed, count())) }()
	rapid.Check(t, func(t *rapid.T) {
		defer func() {
			if t.Failed() {
				failed = cmp.Or(failed, count())
			}
		}()
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		rounds := rapid.IntRange(1, 60).Draw(t, "rounds")
		wait := rapid.Bool().Draw(t, "wait") // for the preparer after each operation
		d, b := newDisk(), &book{records: map[uint64][]byte{}, even: rapid.Bool().Draw(t, "even")}
		if rapid.Bool().Draw(t, "encrypted") {
			b.key = testKey
		}
		for range rounds {
			d.left = r.IntN(1 + []int{6, 40, 150}[r.IntN(3)])
			if r.IntN(8) == 0 {
				d.failing = r.IntN(15)
			}
			j, err := open(Options{SegmentSize: segmentHead + 4*page, Key: b.key}, d)
			switch {
			case err == nil:
				b.round(t, r, j, d, wait)
			case ended(err):
				duringOpen++
			default:
				t.Fatal(err)
			}
			if r.IntN(4) == 0 {
				kills++
				d = d.killed()
			} else {
				cuts++
				d = d.powerCut(r)
			}
		}
	})
}

// ended is whether an error is one that the disk made.
func ended(err error) bool {
	return errors.Is(err, errCut) || errors.Is(err, errSync) || errors.Is(err, ErrBroken)
}

// round does something until the disk ends it, or it is enough.
func (b *book) round(t *rapid.T, r *rand.Rand, j *Journal, d *memDisk, wait bool) {
	defer func() {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	b.check(t, j)
	for range r.IntN(60) {
		err := b.step(t, r, j, d)
		if wait && j.asked {
			p := <-j.ready
			j.ready <- p
		}
		switch {
		case err == nil:
		case errors.Is(err, errSync):
			b.insist(t, r, j)
			return
		case ended(err):
			return
		default:
			t.Fatal(err)
		}
	}
}

func (b *book) step(t *rapid.T, r *rand.Rand, j *Journal, d *memDisk) error {
	n := r.IntN(20)
	if b.even && n > 10 {
		n = 5
	}
	switch {
	case n == 0 && b.last > 0:
		upTo := b.first + r.Uint64N(b.last-b.first+2)
		b.trimming = upTo
		if err := j.Trim(upTo); err != nil {
			return err
		}
		b.trimmed(t, j)
	case n == 1 && b.last > 0 && r.IntN(2) == 0:
		from := b.first + r.Uint64N(b.last-b.first+2)
		b.cutting = from
		if err := j.Cut(from); err != nil {
			return err
		}
		b.cutOff(from)
	case n == 2 && b.last > 0 && r.IntN(4) == 0:
		return b.renew(t, r, j)
	case n < 6:
		records := make([][]byte, 1+r.IntN(8*(1+r.IntN(3))))
		for i := range records {
			records[i] = b.anyRecord(r)
		}
		b.appending = records
		return b.appended(j.AppendAll(b.next(r), records...))
	case n == 6:
		d.full.Store(true)
		one := b.anyRecord(r)
		b.appending = [][]byte{one}
		next := b.next(r)
		err := j.Append(next, one)
		if d.full.Store(false); errors.Is(err, errFull) { // and nothing has happened
			err = j.Append(next, one)
		}
		if errors.Is(err, errFull) { // as the preparer found it in between
			err = j.Append(next, one)
		}
		return b.appended(err)
	default:
		one := b.anyRecord(r)
		b.appending = [][]byte{one}
		return b.appended(j.Append(b.next(r), one))
	}
	return nil
}

// renew appends twice and trims.
func (b *book) renew(t *rapid.T, r *rand.Rand, j *Journal) error {
	commit := func() error {
		b.appending = [][]byte{b.anyRecord(r)}
		return b.appended(j.Append(b.next(r), b.appending[0]))
	}
	return j.Renew(context.Background(), commit, func() error {
		b.trimming = b.last
		err := j.Trim(b.last)
		if err == nil {
			b.trimmed(t, j)
		}
		return err
	})
}

// insist appends after a failed sync, which is refused, unless only the preparer
// met it.
func (b *book) insist(t *rapid.T, r *rand.Rand, j *Journal) {
	if b.appending != nil && j.Last() > b.last { // a part of it was durable before
		n := j.Last() - max(b.last, b.begin-1)
		b.take(b.appending[:n])
		b.appending = b.appending[n:]
	}
	other := [][]byte{b.anyRecord(r)}
	begin := b.begin
	err := j.AppendAll(b.next(r), other...)
	if errors.Is(err, ErrBroken) {
		b.begin = begin
		return
	}
	b.appending, b.trimming, b.cutting = other, 0, 0
	if err := b.appended(err); err != nil && !ended(err) {
		t.Fatal(err)
	}
}

// anyRecord is never the same.
func (b *book) anyRecord(r *rand.Rand) []byte {
	size := []int{0, 4, 100, 100, 484, 484, 484, 1000, 3000, 8000}[r.IntN(10)]
	if b.even {
		size = sector - frameHead - int((&Options{Key: b.key}).added())
	}
	return bytes.Repeat(binary.LittleEndian.AppendUint64(nil, r.Uint64()), size/8+1)[:size]
}

// next is the next commit; to an empty journal any.
func (b *book) next(r *rand.Rand) uint64 {
	if b.last == 0 {
		b.begin = 1 + r.Uint64N(1000)
		return b.begin
	}
	return b.last + 1
}

func (b *book) appended(err error) error {
	if err == nil {
		b.take(b.appending)
		b.appending = nil
	}
	return err
}

func (b *book) take(records [][]byte) {
	for _, r := range records {
		if b.last == 0 {
			b.first, b.last = b.begin, b.begin-1
		}
		b.last++
		b.records[b.last] = r
	}
}

func (b *book) trimmed(t *rapid.T, j *Journal) {
	first := j.First()
	if first < b.first || first > max(b.trimming+1, b.first) || first > b.last {
		t.Fatalf("trimmed to %d of %d to %d: the first is %d", b.trimming, b.first, b.last, first)
	}
	b.first, b.trimming = first, 0
}

func (b *book) cutOff(from uint64) {
	if b.cutting = 0; from <= b.first {
		b.first, b.last = 0, 0
	} else {
		b.last = min(b.last, from-1)
	}
}

// check compares an opened journal with the book, and takes over what is settled
// now.
func (b *book) check(t *rapid.T, j *Journal) {
	first, last := j.First(), j.Last()
	if b.appending != nil && last > b.last {
		start := b.last + 1
		if b.last == 0 {
			start = b.begin
		}
		b.take(b.appending[:min(uint64(len(b.appending)), last-start+1)])
	}
	b.appending = nil
	if b.cutting > 0 && last < b.last && last+1 >= b.cutting {
		b.cutOff(last + 1)
	} else if b.cutting > 0 && last == 0 && b.cutting <= b.first {
		b.cutOff(b.first)
	}
	b.cutting = 0
	if b.trimming > 0 {
		b.trimmed(t, j)
	}
	if first != b.first || last != b.last {
		t.Fatalf("the journal has %d to %d, not %d to %d", first, last, b.first, b.last)
	}
	at, held := b.first, int64(0)
	err := j.Read(0, func(commit uint64, record []byte) error {
		if commit != at || !bytes.Equal(record, b.records[commit]) {
			t.Fatalf("commit %d is not what was appended as %d", commit, at)
		}
		at++
		held += frameSize(len(record) + int(j.o.added()))
		return nil
	})
	if err != nil || last > 0 && at != last+1 || held != j.Held() {
		t.Fatalf("read up to %d of %d, %d of %d bytes: %v", at, last, held, j.Held(), err)
	}
	for range min(last, 3) {
		commit := first + uint64(held)%(last-first+1)
		if got, err := j.Get(commit); err != nil || !bytes.Equal(got, b.records[commit]) {
			t.Fatalf("get %d: %v", commit, err)
		}
	}
}

// TestRemains // P1
//
// An append of several commits is torn: the first is lost, the others are whole on
// disk. Whatever is appended in their place, none of them may be taken for one that
// follows it, also when power is cut again while they are wiped.
func TestRemains(t *testing.T) {
	const size, perSegment = sector - frameHead, 3 * page / sector
	o := Options{SegmentSize: segmentHead + 3*page}
	reopen := func(d *memDisk) *Journal {
		t.Helper()
		j, err := open(o, d)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	for before := range uint64(perSegment + 2) { // it begins anywhere, also in a new segment
		for again := range 4 {
			d := newDisk()
			j := reopen(d)
			appendTo(t, j, before, size)
			torn := make([][]byte, perSegment-before%perSegment)
			for i := range torn {
				torn[i] = record(666, size)
			}
			if err := j.AppendAll(before+1, torn...); err != nil {
				t.Fatal(err)
			}
			name := j.lastSegment().name
			j.Close()
			at := segmentHead + int64(before%perSegment)*sector
			clear(d.names[name].bytes[at:][:sector])
			clear(d.names[name].kept[at:][:sector])
			for i := range again {
				d.left = 1 + i
				if j, err := open(o, d); err == nil {
					j.Close()
				}
				d = d.powerCut(rand.New(rand.NewPCG(before, uint64(again))))
			}
			for last := before; last <= before+uint64(len(torn))+1; last++ {
				d := d.powerCut(rand.New(rand.NewPCG(before, last)))
				j := reopen(d)
				appendTo(t, j, last, size)
				j.Close()
				if j = reopen(d); j.Last() != last {
					t.Fatalf("%d before, %d cuts while opening: last is %d, not %d", before, again, j.Last(), last)
				}
				j.Close()
			}
		}
	}
}

func (j *Journal) lastSegment() (last *segment) {
	for _, s := range j.segments {
		if !s.empty() {
			last = s
		}
	}
	return last
}
