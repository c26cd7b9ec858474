// Package secret takes secrets out of what others say: a server may repeat the
// login that it refuses, as it came or in another form. It keeps no secret from
// who may see it, and looks at no message's data. Start at [New].
package secret

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Hidden stands where a secret stood.
const Hidden = "(hidden)"

// least is how long a value must be: a shorter one is part of many a word.
const least = 4

// Set is what must not be said. The zero value and nil hide nothing.
type Set struct {
	replacer *strings.Replacer
	longest  int // form, in bytes
}

// New makes a Set of values, in every form that they may come back in.
func New(values ...string) *Set {
	var all []string
	for _, v := range values {
		if len(v) >= least {
			all = append(all, forms(v)...)
		}
	}
	if len(all) == 0 {
		return &Set{}
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }) // one may hold another
	all = slices.Compact(all)
	var pairs []string
	for _, form := range all {
		pairs = append(pairs, form, Hidden)
	}
	return &Set{strings.NewReplacer(pairs...), len(all[0])}
}

// Text is text without the secrets.
func (s *Set) Text(text string) string {
	if s == nil || s.replacer == nil {
		return text
	}
	return s.replacer.Replace(text)
}

// Start is the first most bytes of text without the secrets, and without a part
// of one at its end.
func (s *Set) Start(text []byte, most int) string {
	if s == nil || s.replacer == nil {
		return string(text[:min(len(text), most)])
	}
	window := text[:min(len(text), most+s.longest)]
	shown := s.Text(string(window))
	if len(window) < len(text) { // it may end in a part of one
		shown = shown[:max(0, len(shown)-s.longest)]
	}
	return shown[:min(len(shown), most)]
}

// forms are a value, what XML, JSON, Go and URLs make of it, and what is always
// the same in base64 of anything that holds it.
func forms(v string) []string {
	all := []string{v, url.QueryEscape(v), url.PathEscape(v)}
	var x strings.Builder
	xml.EscapeText(&x, []byte(v)) //nolint:errcheck // a Builder takes all
	all = append(all, x.String(), strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(v), strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;").Replace(v))
	if j, err := json.Marshal(v); err == nil {
		all = append(all, string(j[1:len(j)-1]))
	}
	q := strconv.Quote(v)
	all = append(all, q[1:len(q)-1])
	for before := range 3 { // bytes that share its first group of three
		b := base64.RawStdEncoding.EncodeToString([]byte("..."[:before] + v))
		b = b[[...]int{0, 2, 3}[before]:]
		if (before+len(v))%3 != 0 {
			b = b[:len(b)-1] // it depends on what follows
		}
		if len(b) >= least {
			all = append(all, b, strings.NewReplacer("+", "-", "/", "_").Replace(b))
		}
	}
	return all
}
