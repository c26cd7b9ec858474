package plain

import (
	"strconv"
	"strings"
	"unicode"
)

// Line makes s fit for one line of a log: no control characters, valid UTF-8,
// at most limit bytes.
func Line(s string, limit int) string {
	return Clip(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp):
			return unicode.ReplacementChar
		}
		return r
	}, s), limit)
}

// Clip cuts s to limit bytes, at the end of a character.
func Clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// Excerpt quotes the beginning of something unexpected.
func Excerpt(s string) string { return strconv.Quote(Clip(Line(s, 200), 80)) }
