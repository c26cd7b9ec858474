// Package tally counts troubles by their reasons. Reasons are texts of plugins and servers:
// most have a number, an id or a name in them that differs each time, and there can be any
// number of them. So those that differ in such parts only are one trouble, and of all only
// those that came last are kept. Start at [Troubles].
package tally

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"balhost/host/internal/plain"
	"balhost/host/internal/status"
)

const (
	most       = 8   // troubles that are kept
	mostReason = 500 // bytes of a reason
)

// Troubles are those of one plugin or one session. The zero value has none. Its owner calls it
// from one goroutine at a time.
type Troubles struct {
	all []trouble // the one that came last is the last
}

type trouble struct {
	shape string
	status.Trouble
}

// Cause is why something was not done, once.
type Cause struct {
	Code   string // of a downstream
	Reason string
	Gone   bool // its target does not exist any more
	Ended  bool // it is not tried again
}

// Add counts one more.
func (t *Troubles) Add(c Cause, now time.Time) {
	reason := plain.Clip(c.Reason, mostReason)
	shape := c.Code + "\x00" + shapeOf(reason)
	i := slices.IndexFunc(t.all, func(one trouble) bool { return one.shape == shape })
	one := trouble{shape: shape, Trouble: status.Trouble{Code: c.Code, Gone: c.Gone, First: now}}
	switch {
	case i >= 0:
		one = t.all[i]
		t.all = slices.Delete(t.all, i, i+1)
	case len(t.all) == most:
		t.all = slices.Delete(t.all, 0, 1)
	}
	one.Reason, one.Last = reason, now
	if c.Ended {
		one.Ended++
	} else {
		one.Again++
	}
	t.all = append(t.all, one)
}

// List are the troubles, the one that came last first.
func (t *Troubles) List() (all []status.Trouble) {
	for _, one := range slices.Backward(t.all) {
		all = append(all, one.Trouble)
	}
	return all
}

// varies is what stands in a shape for a part that differs each time.
const varies = "#"

// shapeOf is a reason without what differs each time: what is quoted, and words with a digit.
func shapeOf(reason string) string { return strings.Join(fixed(reason), varies) }

// Common is the longest part of a reason that others like it have too: it finds them.
func Common(reason string) (common string) {
	for _, part := range fixed(reason) {
		if part = strings.Trim(part, " :;,.()\"'"); len(part) > len(common) {
			common = part
		}
	}
	return common
}

// fixed are the parts of a reason between those that differ each time.
func fixed(reason string) (parts []string) {
	begin, word, quoted, digit := 0, -1, false, false // where the part began, and the word; -1: in none
	cut := func(from, to int) { parts, begin = append(parts, reason[begin:from]), to }
	for i, r := range reason {
		switch {
		case r == '"' && quoted:
			quoted = false
			cut(word, i)
			word = -1
		case quoted:
		case r == '"' && strings.Contains(reason[i+1:], `"`):
			if word >= 0 && digit {
				cut(word, i)
			}
			quoted, word, digit = true, i+1, false
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_' || r == '.':
			if word < 0 {
				word = i
			}
			digit = digit || unicode.IsDigit(r)
		default:
			if word >= 0 && digit {
				cut(word, i)
			}
			word, digit = -1, false
		}
	}
	if word >= 0 && digit {
		cut(word, len(reason))
	}
	return append(parts, reason[begin:])
}
