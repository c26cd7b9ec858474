package fcm

import (
	"bytes"
	"slices"
)

// loose does for broken JSON what [object] does for valid JSON: it calls field
// for each key of the outermost object. It looks only at strings, brackets,
// colons and commas. Inside a broken value only the quotes must be paired. A
// closing bracket may close several brackets, or none. A string value is passed
// whole; any other value is passed up to the next comma.
//
// A device can't mislead it. A quote in a device's string has a backslash before
// it, and a key inside "data" is not in the outermost object.
func loose(b []byte, field func(key, value []byte)) {
	b = bytes.TrimRight(b, " \t\r\n")
	start := bytes.IndexByte(b, '{')
	if start < 0 {
		return
	}
	var (
		around = brackets{open: []byte{'{'}} // the open brackets around b[i]
		key    []byte
		value  = -1   // index of the value of key; -1: no value has begun
		empty  bool   // so far there are only spaces after the ':'
		last   []byte // the string just before b[i]: a key, if ':' follows
		begin  int    // index of last's first quote
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
		outer, first := len(around.open) == 1, empty
		if empty = false; c == '"' {
			n := stringEnd(b[i:])
			if n == 0 { // the string does not end
				return
			}
			if outer && value >= 0 && first {
				field(key, b[i:i+n]) // anything after it, up to the comma, is ignored
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
			around.toObject() // a key is directly in an object: the arrays around it were not closed
			if len(around.open) == 1 {
				end(begin) // a value that has not ended lacks its comma
				key, value, empty = last, i+1, true
			}
		case ',':
			if outer {
				empty = first
				end(i)
			}
		case '{', '[':
			around.push(c)
		case '}', ']':
			if !around.close(c-2) && outer && i == len(b)-1 {
				empty = first
				end(i)
			}
		}
		last = nil
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// brackets are the open brackets. The first is the outermost object's.
type brackets struct {
	open   []byte
	arrays int
}

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

// close closes the innermost bracket c, and all brackets inside it. It reports
// false if only the outermost object could be closed.
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

// stringEnd is the length of the string that begins at b[0], or 0 if it does not end.
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

// backwards calls field for the last fields of an object whose beginning is
// missing. It reads from the end, and stops at the first value that is not a
// string, number, boolean or null. The payload's last bracket closes the outermost
// object, so no field that a device wrote into "data" is read.
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
	for _, p := range slices.Backward(found) { // of two fields with one key the last counts
		field(p.key, p.value)
	}
}

// lastScalar splits b before the string or literal at its end. Both are nil if
// there is none.
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
		if start <= 0 { // the first quote, or all before it, is missing
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
