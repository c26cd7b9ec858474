package ccssim

import (
	"cmp"
	"container/heap"
	"errors"
	"io"
	"time"

	"balhost/host/internal/xmpp"
)

var errEnded = errors.New("the simulator ended the stream")

// write writes all that is due, until the connection ends.
func (c *conn) write() error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	buf := make([]byte, 0, 64<<10)
	for {
		c.srv.mu.Lock()
		now := time.Now() // under the lock: for one account, time never goes back
		var end bool
		buf, end = c.fill(buf[:0], now)
		wake := c.nextWake(now)
		c.srv.mu.Unlock()
		if len(buf) > 0 {
			if err := c.flush(buf); err != nil {
				return err
			}
		}
		switch {
		case end:
			return errEnded
		case len(buf) > 0:
			continue // more may have come meanwhile
		}
		if !wake.IsZero() {
			timer.Reset(time.Until(wake))
		}
		select {
		case <-c.kick:
		case <-timer.C:
		case <-c.gone:
			return nil
		}
	}
}

// fill appends what may be written now. end reports that nothing follows it.
func (c *conn) fill(buf []byte, now time.Time) (_ []byte, end bool) {
	s := c.srv
	full := 48 << 10
	if s.opts.WriteEach {
		full = 1
	}
	if !c.closeAt.IsZero() && !now.Before(c.closeAt) {
		c.finish([]byte(xmpp.CloseTag))
	}
	emit := func(stanza []byte) {
		s.transcript.add(now, c.id, true, stanza)
		buf = append(buf, stanza...)
	}
	for len(c.out) > 0 && len(buf) < full {
		emit(c.out[0])
		c.out = c.out[1:]
	}
	if c.ending {
		return buf, len(c.out) == 0
	}
	for len(c.replies) > 0 && !c.replies[0].due.After(now) && len(buf) < full {
		r := heap.Pop(&c.replies).(pending)
		c.unanswered--
		hint(c.answered)
		emit(r.stanza)
		if r.then != nil {
			r.then(now)
		}
	}
	if c.carries() {
		buf = c.fillUpstreams(buf, full, now)
	}
	if k := s.opts.Keepalive; len(buf) > 0 {
		c.quietSince = now
	} else if k > 0 && now.Sub(c.quietSince) >= k {
		c.quietSince = now
		s.counts.Keepalives++
		buf = append(buf, xmpp.Keepalive...)
	}
	return buf, false
}

// fillUpstreams appends the upstreams that have room in the window. Those that
// Options.ResendAfter writes again come first.
func (c *conn) fillUpstreams(buf []byte, full int, now time.Time) []byte {
	s := c.srv
	for len(buf) < full {
		it := c.overdue(now)
		if it == nil {
			break
		}
		buf = c.deliver(buf, it, now)
	}
	for c.outstanding < s.opts.Window && len(buf) < full {
		it := s.next(c.acct, now)
		if it == nil {
			break
		}
		buf = c.deliver(buf, it, now)
		if s.opts.Duplicates > 0 && s.rnd.Float64() < s.opts.Duplicates && c.outstanding < s.opts.Window {
			buf = c.deliver(buf, it, now)
		}
	}
	return buf
}

// carries reports whether upstreams are written on this connection.
func (c *conn) carries() bool {
	return c.state == StateBound || c.state == StateDraining && !c.drain.NoUpstream
}

// nextWake is when fill must be called without a kick. Zero means never.
func (c *conn) nextWake(now time.Time) time.Time {
	var wake time.Time
	at := func(t time.Time) {
		if !t.IsZero() && (wake.IsZero() || t.Before(wake)) {
			wake = t
		}
	}
	at(c.closeAt)
	if len(c.replies) > 0 {
		at(c.replies[0].due)
	}
	if c.carries() && c.outstanding < c.srv.opts.Window { // with a full window, a time in the past would wake the writer again and again
		at(c.acct.load.nextDue(now))
		if len(c.resends) > 0 {
			at(c.resends[0].at.Add(c.srv.opts.ResendAfter))
		}
	}
	if k := c.srv.opts.Keepalive; k > 0 {
		at(c.quietSince.Add(k))
	}
	return wake
}

// flush writes b. Options.SplitBytes and a planned cut divide it into pieces.
func (c *conn) flush(b []byte) error {
	for len(b) > 0 {
		piece := b
		if n := c.srv.opts.SplitBytes; n > 0 {
			piece = b[:min(len(b), 1+c.rnd.IntN(n))]
		}
		c.srv.mu.Lock()
		cut := c.cut
		if cut != nil {
			piece = piece[:min(len(piece), cut.After)]
			cut.After -= len(piece)
		}
		c.srv.mu.Unlock()
		if _, err := c.rw.Write(piece); err != nil {
			return err
		}
		b = b[len(piece):]
		if cut != nil && cut.After == 0 {
			c.srv.mu.Lock()
			c.kill(cut.Mode)
			c.srv.mu.Unlock()
			return io.ErrClosedPipe
		}
	}
	return nil
}

// pending is the reply to one downstream, until it is due.
type pending struct {
	due    time.Time
	seq    uint64
	stanza []byte
	then   func(now time.Time) // called when the reply is written, or when the connection ends; may be nil
}

// replies is a heap by due time, then by arrival.
type replies []pending

func (r replies) Len() int      { return len(r) }
func (r replies) Swap(i, j int) { r[i], r[j] = r[j], r[i] }
func (r *replies) Push(x any)   { *r = append(*r, x.(pending)) }
func (r replies) Less(i, j int) bool {
	return cmp.Or(r[i].due.Compare(r[j].due), cmp.Compare(r[i].seq, r[j].seq)) < 0
}

func (r *replies) Pop() any {
	old := *r
	last := old[len(old)-1]
	*r = old[:len(old)-1]
	return last
}
