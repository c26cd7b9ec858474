package xmpp

import "bytes"

// Tolerate makes [Reader.Next] read on behind what is broken, from now on: where
// it ends is found by looking for the next end tag or beginning that fits. A
// peer that sends again what was not answered would break the next stream too,
// and for ever, had the stream to end as it should.
// Spec: RFC 6120 §4.9.3.13, §4.9.3.18, which this departs from.
func (r *Reader) Tolerate() { r.tolerant = true }

// Unfinished is the number of the element that is being read, 0 between two.
func (r *Reader) Unfinished() uint64 {
	if !r.inside {
		return 0
	}
	return r.elements
}

// Resync is for an element that does not come to its end: if it could have been
// broken, and have ended, Next says so. Else there is more to come, as before.
func (r *Reader) Resync() {
	if !r.tolerant || !r.inside {
		return
	}
	if r.lost.fault == nil {
		r.lose(&SyntaxError{What: "an element that does not end"})
		probe := r.lost
		probe.plain = true
		if _, found := probe.find(r.buf[r.start:r.end], r.tag); !found && r.dropped == 0 {
			r.lost = lost{}
			return
		}
	}
	r.doubt = r.came
	r.lost.plain, r.lost.section, r.lost.at = true, "", min(1, r.end-r.start)
	r.at = r.start
}

// junk ends the stream, or goes over what is no element, up to the next '<'.
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

// drop lets the element's bytes go from now on.
func (r *Reader) drop() {
	if !r.skip {
		r.skip, r.head = true, bytes.Clone(r.buf[r.start:min(r.end, r.start+r.kept())])
	}
}

// kept is how many bytes are held of either end of an element that is dropped.
// Invariant: at most half of the buffer, which has grown to the largest size by then.
func (r *Reader) kept() int {
	const enough = 64 << 10
	return max(2*lookahead, min(enough, r.max/4))
}

// tooLarge is the error for an element of size bytes; b is what is there of it, its end.
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

// topName is the name that the element at b[0] begins with.
func topName(b []byte) []byte {
	n := 1
	for n < len(b) && n < lookahead && !nameEnds(b[n]) {
		n++
	}
	return bytes.Clone(b[min(1, len(b)):min(n, len(b))])
}

// lose notes that the element is broken: its end is to be sought.
func (r *Reader) lose(fault error) {
	r.lost = lost{fault: fault, plain: r.came-int64(r.end-r.start) < r.doubt}
	if r.dropped == 0 {
		r.lost.name, r.lost.at = topName(r.buf[r.start:r.end]), 1
	} else {
		r.lost.name = topName(r.head)
	}
}

// seek looks for the end of an element that is lost; nil when there is more to come.
func (r *Reader) seek() error {
	b := r.buf[r.start:r.end]
	n, found := r.lost.find(b, r.tag)
	if size := r.dropped + int64(len(b)); !found && size > int64(r.max) {
		if r.dropped == 0 && !r.lost.plain { // what it is in may have no end
			r.lost.plain, r.lost.section, r.lost.at = true, "", 1
			return r.seek()
		}
		keep := min(len(b), r.kept())
		r.lost.at = max(0, r.lost.at-(len(b)-keep))
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
	return &BrokenError{Err: r.lost.fault, Raw: b[:n]}
}
