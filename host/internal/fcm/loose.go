package fcm

import (
	"bytes"
	"slices"
)

// loose goes over the top-level fields of an object in broken JSON, by its
// strings and brackets alone, as [object] does for sound JSON. Of a broken
// value nothing is asked but that its quotes are paired; a bracket that closes
// several at once, or none, is put up with. A field is handed over for each key
// that stands in the outermost object, a string whole, anything else to the next comma.
//
// What CCS did not break itself can't mislead it: in a string of a device's a
// quote has a backslash before it, and a key inside "data" is not in the outermost object.
func loose(b []byte, field func(key, value []byte)) {
	b = bytes.TrimRight(b, " \t\r\n")
	start := bytes.IndexByte(b, '{')
	if start < 0 {
		return
	}
	var (
		open  = brackets{open: []byte{'{'}} // around b[i]
		key   []byte
		value = -1   // where the value of key begins; -1: there was no ':'
		empty bool   // nothing of it has come
		last  []byte // the string before b[i]: a key, if ':' follows
		begin int    // where it begins
	)
	end := func(i int) {
		if value >= 0 && !empty {
			field(key, bytes.TrimSpace(b[value:i]))
		}
		value = -1
	}
	for i := start + 1; i < len(b); i++ {
		c := b[i]
		if isSpace(c) {
			continue
		}
		outer, first := open.depth() == 1, empty
		if empty = false; c == '"' {
			n := stringEnd(b[i:])
			if n == 0 { // cut off
				return
			}
			if outer && value >= 0 && first {
				field(key, b[i:i+n]) // what stands behind it until the comma is no part of it
				value = -1
			} else {
				last, begin = b[i+1:i+n-1], i
			}
			i += n - 1
			continue
		}
		switch c {
		case ':':
			if last == nil {
				break
			}
			open.toObject() // a key stands in one: arrays in it were not closed
			if open.depth() == 1 {
				end(begin) // the comma is missing, if there is anything to end
				key, value, empty = last, i+1, true
			}
		case ',':
			if outer {
				empty = first
				end(i)
			}
		case '{', '[':
			open.push(c)
		case '}', ']':
			if !open.close(c-2) && outer && i == len(b)-1 {
				empty = first
				end(i)
			}
		}
		last = nil
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// brackets are those that are open, the outermost object's first.
type brackets struct {
	open   []byte
	arrays int
}

func (o *brackets) depth() int { return len(o.open) }

func (o *brackets) push(c byte) {
	o.open = append(o.open, c)
	if c == '[' {
		o.arrays++
	}
}

func (o *brackets) pop() (c byte) {
	c = o.open[len(o.open)-1]
	o.open = o.open[:len(o.open)-1]
	if c == '[' {
		o.arrays--
	}
	return c
}

// close closes the innermost c and all in it; false when none is open but the outermost object.
func (o *brackets) close(c byte) bool {
	if c == '[' && o.arrays == 0 || c == '{' && len(o.open)-o.arrays == 1 {
		return false
	}
	for o.pop() != c {
	}
	return true
}

func (o *brackets) toObject() {
	for o.open[len(o.open)-1] == '[' {
		o.pop()
	}
}

// stringEnd is the length of the string at b[0]; 0 when it does not end.
func stringEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// backwards goes over the last fields of an object whose beginning is not there,
// from its end up to the first value that is no string, number, boolean or null.
// What ends with the payload's last bracket is the outermost object, so that
// nothing a device wrote into "data" is taken for CCS's.
func backwards(b []byte, field func(key, value []byte)) {
	type pair struct{ key, value []byte }
	var found []pair
	b = bytes.TrimRight(b, " \t\r\n")
	for next := byte('}'); len(b) > 0 && b[len(b)-1] == next; next = ',' {
		rest, value := lastScalar(b[:len(b)-1])
		if value == nil || len(rest) == 0 || rest[len(rest)-1] != ':' {
			break
		}
		rest, key := lastScalar(rest[:len(rest)-1])
		if key == nil || key[0] != '"' || len(rest) == 0 || rest[len(rest)-1] != ',' && rest[len(rest)-1] != '{' {
			break
		}
		found = append(found, pair{key[1 : len(key)-1], value})
		b = rest
	}
	for _, p := range slices.Backward(found) { // the last of two counts
		field(p.key, p.value)
	}
}

// lastScalar takes the string or literal off that b ends with; nil when it ends with none.
func lastScalar(b []byte) (rest, scalar []byte) {
	b = bytes.TrimRight(b, " \t\r\n")
	start := len(b)
	if start > 0 && b[start-1] == '"' {
		for start--; start >= 0; {
			start = bytes.LastIndexByte(b[:start], '"')
			before := bytes.TrimRight(b[:max(start, 0)], `\`)
			if start >= 0 && (start-len(before))%2 == 0 {
				break
			}
		}
		if start <= 0 { // its beginning, or what stands before, is not there
			return nil, nil
		}
	} else {
		start = bytes.LastIndexAny(b, ",:\"{}[] \t\r\n") + 1
	}
	if start <= 0 || start == len(b) {
		return nil, nil
	}
	return bytes.TrimRight(b[:start], " \t\r\n"), b[start:]
}
