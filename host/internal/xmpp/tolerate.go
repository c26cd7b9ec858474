package xmpp

import "bytes"

// Tolerate makes [Reader.Next] read on after a broken element, from now on. The
// broken element ends at its end tag, or where the next element begins. Without
// this, a broken message would end the stream. The peer would send the message
// again in the next stream, and end that too, for ever.
// Spec: RFC 6120 §4.9.3.13, §4.9.3.18; Tolerate does not follow them.
func (r *Reader) Tolerate() { r.tolerant = true }

// Unfinished is the number of the element that is being read, or 0 between two
// elements.
func (r *Reader) Unfinished() uint64 {
	if !r.inside {
		return 0
	}
	return r.elements
}

// Resync is for an element whose end does not come. If the element may be broken,
// and may have ended already, Next then returns it as broken. Else Next goes on
// waiting for the element's end.
func (r *Reader) Resync() {
	if !r.tolerant || !r.inside {
		return
	}
	if r.broken.fault == nil {
		r.markBroken(&SyntaxError{What: "an element that does not end"})
		probe := r.broken
		probe.plain = true
		if _, found := probe.find(r.buf[r.start:r.end], r.tag); !found && r.dropped == 0 {
			r.broken = endSearch{}
			return
		}
	}
	r.plainUntil = r.came
	r.broken.restart(min(1, r.end-r.start))
	r.at = r.start
}

// junk handles bytes between two elements that are no element. It ends the
// stream. A tolerant reader skips the bytes up to the next '<' instead.
func (r *Reader) junk(fault error) error {
	r.inside = false
	if !r.tolerant {
		r.over = fault
		return fault
	}
	raw := r.buf[r.start:r.end]
	if i := bytes.IndexByte(raw[min(1, len(raw)):], '<'); i >= 0 {
		raw = raw[:i+1]
	}
	r.at = r.start + len(raw)
	r.start = r.at
	return &BrokenError{Err: fault, Raw: raw, Between: true}
}

// drop begins to drop the element's bytes.
func (r *Reader) drop() {
	if !r.skip {
		r.skip, r.head = true, bytes.Clone(r.buf[r.start:min(r.end, r.start+r.kept())])
	}
}

// kept is how many bytes of each end of a dropped element are kept. Invariant: at
// most half of the buffer, which has its full size when an element is dropped.
func (r *Reader) kept() int {
	const enough = 64 << 10
	return max(2*lookahead, min(enough, r.max/4))
}

// tooLarge is the error for an element of size bytes. b is the part that was not
// dropped: the element's end.
func (r *Reader) tooLarge(size int64, b []byte) error {
	err := &TooLargeError{Size: size, Max: r.max, Deep: r.scan.deep, Wide: r.scan.wide}
	if n := min(len(b), r.kept()); r.tolerant {
		err.Head, err.Tail = b[:n], b[len(b)-n:]
	}
	if r.tolerant && r.dropped > 0 {
		err.Head = r.head
	}
	r.head = nil
	return err
}

// markBroken begins the search for the end of the element.
func (r *Reader) markBroken(fault error) {
	begin, at := r.head, 0
	if r.dropped == 0 {
		begin, at = r.buf[r.start:r.end], 1
	}
	r.broken = endSearch{
		fault: fault, plain: r.came-int64(r.end-r.start) < r.plainUntil,
		name: bytes.Clone(fullName(begin, lookahead)), at: at,
	}
}

// findEnd looks for the end of a broken element. If it finds the end, it returns
// the error for the element. nil means that more bytes are needed.
func (r *Reader) findEnd() error {
	b := r.buf[r.start:r.end]
	n, found := r.broken.find(b, r.tag)
	if size := r.dropped + int64(len(b)); !found && size > int64(r.max) {
		if r.dropped == 0 && !r.broken.plain { // perhaps a section does not end: try without sections
			r.broken.restart(1)
			return r.findEnd()
		}
		keep := min(len(b), r.kept())
		r.broken.at = max(0, r.broken.at-(len(b)-keep))
		r.drop()
		r.dropped, r.start = size-int64(keep), r.end-keep
	}
	if !found {
		r.at = r.end
		return nil
	}
	r.at, r.inside = r.start+n, false
	if size := r.dropped + int64(n); r.skip || size > int64(r.max) {
		return r.tooLarge(size, b[:n])
	}
	return &BrokenError{Err: r.broken.fault, Raw: b[:n]}
}
