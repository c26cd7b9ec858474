package ledger

import (
	"slices"
	"sort"
)

// index knows what is pending of one kind, in seq order. Of every page that has
// something pending memory holds a stub of 24 bytes; of the pages that were
// stored or used last it holds the entries too, and the bodies of those that
// were stored since the start: as much as limit allows. What lies deeper is
// read from the disk when its turn comes (see deep.go), so that no backlog decides how much memory the
// host needs.
//
// Only the committer changes it, under Ledger.mu, so the committer reads it
// without the lock.
type index struct {
	kind  byte
	stubs []stub // what has ended leaves a hole, with n 0
	pages int    // stubs that are no holes
	live  int    // entries

	held, limit int     // bytes of entries and bodies in memory
	open        []*page // whose entries are in memory, in the order in which they came; may have ended
}

// stub is what memory holds about each page.
type stub struct {
	seq     uint64
	page    *page  // nil: it is on the disk alone, and the rest is as it was written
	n, live uint16 // as in page; 0: a hole
	turn    uint16 // grows when the page leaves memory, so that who read the disk sees that it has changed
	marked  bool   // as in page
	tried   bool   // as in page
}

// item is a pending event or downstream.
type item interface{ at() *place }

// index is that of a kind.
func (l *Ledger) index(kind byte) *index {
	if kind == kindDownstream {
		return &l.sent
	}
	return &l.events
}

// place is where a pending entry is stored, and what of it changes. What the
// committer alone uses needs no lock.
type place struct {
	seq      uint64
	due      int64 // nanoseconds, 0: at once; Ledger.mu guards it
	page     *page
	weight   uint32 // of the record, in bytes
	size     uint32 // of what memory holds, in bytes
	attempts uint32 // Ledger.mu guards it
	slot     uint16 // in page; the committer's
	kept     bool   // has a state record; the committer's
	over     bool   // settled by an earlier operation of the batch; the committer's
}

func (p *place) at() *place { return p }

// itemExtra is about what memory holds of a pending entry besides texts and body.
const itemExtra = 192

// find is where in stubs the page is that seq would be in.
func (x *index) find(seq uint64) (at int, found bool) {
	at = sort.Search(len(x.stubs), func(i int) bool { return x.stubs[i].seq > seq }) - 1
	return at, at >= 0 && x.stubs[at].n > 0
}

// stub is that of the page that seq would be in; nil when there is none.
func (x *index) stub(seq uint64) *stub {
	if at, found := x.find(seq); found {
		return &x.stubs[at]
	}
	return nil
}

// follow is the first page with a greater seq that something is pending of; nil for none.
func (x *index) follow(seq uint64) *stub {
	at, _ := x.find(seq)
	for at++; at < len(x.stubs); at++ {
		if x.stubs[at].n > 0 {
			return &x.stubs[at]
		}
	}
	return nil
}

// list notes a page that is on the disk.
func (x *index) list(s stub) {
	x.stubs = append(x.stubs, s)
	x.pages++
	x.live += int(s.live)
}

// add makes an entry pending, the newest so far.
func (x *index) add(it item) {
	p := it.at().page
	if len(x.stubs) == 0 || x.stubs[len(x.stubs)-1].page != p {
		x.list(stub{seq: p.seq, n: 1, page: p})
		x.open = append(x.open, p)
	}
	p.items = append(p.items, it)
	x.held += int(it.at().size)
	x.live++
}

// load has memory hold the entries of a page, as they are on the disk.
func (x *index) load(s *stub, p *page) {
	s.page = p
	x.open = append(x.open, p)
	for _, it := range p.items {
		x.held += int(it.at().size)
	}
}

// end takes an entry out. Its page is in memory: the committer ended it there.
func (x *index) end(it item) {
	pl := it.at()
	p := pl.page
	i, found := p.find(pl.seq)
	if !found {
		return
	}
	p.items = slices.Delete(p.items, i, i+1)
	x.held -= int(pl.size)
	x.live--
	if len(p.items) > 0 {
		return
	}
	*x.stub(p.seq) = stub{seq: p.seq}
	x.pages--
	ended := 0
	for ended < len(x.stubs) && x.stubs[ended].n == 0 {
		ended++
	}
	x.stubs = x.stubs[ended:]
	if len(x.stubs) > 2*x.pages+1024 {
		x.stubs = slices.DeleteFunc(slices.Clone(x.stubs), func(s stub) bool { return s.n == 0 })
	}
}

// shed lets memory forget the pages that came first, until it holds less than
// the limit. Between two batches alone: a batch changes the entries that it has found.
func (x *index) shed() {
	gone := 0
	for ; gone < len(x.open) && (x.held > x.limit || len(x.open[gone].items) == 0); gone++ {
		p := x.open[gone]
		x.open[gone] = nil
		if len(p.items) == 0 {
			continue // it has ended
		}
		for _, it := range p.items {
			x.held -= int(it.at().size)
		}
		s := x.stub(p.seq)
		*s = stub{seq: p.seq, n: p.n, live: p.live, turn: s.turn + 1, marked: p.marked, tried: p.tried}
	}
	x.open = x.open[gone:]
	if ended := len(x.open) - x.pages; ended > 1024 && ended > x.pages {
		x.open = slices.DeleteFunc(slices.Clone(x.open), func(p *page) bool { return len(p.items) == 0 })
	}
}

// low is the key before which no page is pending; next when none is.
func (x *index) low(next uint64) uint64 {
	if len(x.stubs) == 0 {
		return next
	}
	return x.stubs[0].seq // end leaves no hole at the front
}
