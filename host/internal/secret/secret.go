// Package secret hides secrets in texts of others. For example a server may repeat the
// login that it denies, unchanged or in another form. The package does not look at the
// data of messages. Start at [New].
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

// Hidden is written in place of a secret.
const Hidden = "(hidden)"

// least is how many bytes a secret has at least. A shorter value is not hidden,
// because it is a part of many words.
const least = 4

// Set is a set of secrets. The zero value and nil hide nothing.
type Set struct {
	replacer *strings.Replacer
	longest  int // bytes of the longest form
}

// New makes a Set of values. It hides each value in all forms that a peer may write.
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
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }) // the longest first, because it may contain others
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

// Start is the first most bytes of text without the secrets. It does not end with a
// part of a secret.
func (s *Set) Start(text []byte, most int) string {
	if s == nil || s.replacer == nil {
		return string(text[:min(len(text), most)])
	}
	window := text[:min(len(text), most+s.longest)]
	shown := s.Text(string(window))
	if len(window) < len(text) { // it may end with a part of a secret
		shown = shown[:max(0, len(shown)-s.longest)]
	}
	return shown[:min(len(shown), most)]
}

// forms are a value itself, its forms in XML, JSON, Go and URLs, and the parts that
// are the same in the base64 of every text that contains it.
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
	for before := range 3 { // how many bytes of other text are in the value's first group of three
		b := base64.RawStdEncoding.EncodeToString([]byte("..."[:before] + v))
		b = b[[...]int{0, 2, 3}[before]:]
		if (before+len(v))%3 != 0 {
			b = b[:len(b)-1] // the last character depends on the text that follows
		}
		if len(b) >= least {
			all = append(all, b, strings.NewReplacer("+", "-", "/", "_").Replace(b))
		}
	}
	return all
}
