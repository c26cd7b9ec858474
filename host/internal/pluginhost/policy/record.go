package policy

import (
	"slices"
	"time"
)

// Record is what is remembered of a plugin's contents, over restarts too.
type Record struct {
	// Proven are the contents that have passed their probation, or were the
	// first ones; the one that served last comes last.
	Proven []string `json:"proven,omitempty"`
	// Refused are contents that are not tried again with these options.
	Refused []RefusedContent `json:"refused,omitempty"`
	// Pin is a rollback that a person asked for.
	Pin *Pin `json:"pin,omitempty"`
}

// RefusedContent is a content that did not start well, or was rolled back.
type RefusedContent struct {
	SHA256  string    `json:"sha256"`
	Options string    `json:"options"` // their fingerprint
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
	// Tries are the starts that have failed in a row for what may lie outside of the
	// content. 0: it is to blame itself, so another one has to take its place.
	Tries int       `json:"tries,omitempty"`
	Again time.Time `json:"again,omitzero"` // when it is tried once more; zero: when a person asks for it
}

// Pin lets To serve as long as the file holds Instead.
type Pin struct {
	To      string `json:"to"`
	Instead string `json:"instead"`
}

const (
	keptProven   = 3 // contents whose copies stay
	keptRefusals = 20
)

// Empty reports whether there is nothing to remember.
func (r *Record) Empty() bool { return r.Proven == nil && r.Refused == nil && r.Pin == nil }

// HasProven reports whether a content has worked.
func (r *Record) HasProven(sha256 string) bool { return slices.Contains(r.Proven, sha256) }

func (r *Record) prove(sha256 string) {
	r.Proven = slices.DeleteFunc(r.Proven, func(s string) bool { return s == sha256 })
	r.Proven = append(r.Proven, sha256)
	r.Proven = r.Proven[max(0, len(r.Proven)-keptProven):]
}

// before is what was proven before a content; all, if that is not among it.
func (r *Record) before(sha256 string) []string {
	if i := slices.Index(r.Proven, sha256); i >= 0 {
		return r.Proven[:i]
	}
	return r.Proven
}

// refuse notes a refusal in the place of an earlier one of the same version.
func (r *Record) refuse(c RefusedContent) {
	r.pardon(func(was RefusedContent) bool { return was.SHA256 == c.SHA256 && was.Options == c.Options })
	r.Refused = append(r.Refused, c)
	r.Refused = r.Refused[max(0, len(r.Refused)-keptRefusals):]
}

// pardon forgets refusals, and reports whether there were any.
func (r *Record) pardon(which func(RefusedContent) bool) bool {
	before := len(r.Refused)
	r.Refused = slices.DeleteFunc(r.Refused, which)
	return len(r.Refused) < before
}

// refusal finds why v was refused; ok is false when it was not.
func (r *Record) refusal(v Version) (why RefusedContent, ok bool) {
	i := slices.IndexFunc(r.Refused, func(c RefusedContent) bool { return c.SHA256 == v.SHA256 && c.Options == v.Options.Print })
	if i < 0 {
		return why, false
	}
	return r.Refused[i], true
}

// pinned is what serves in place of the file's content; "" for nothing.
func (r *Record) pinned(content string) string {
	if r.Pin == nil || r.Pin.Instead != content {
		return ""
	}
	return r.Pin.To
}
