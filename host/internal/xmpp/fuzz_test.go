package xmpp

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func seed(f *testing.F) {
	for _, c := range streams {
		if len(c.in) < 1000 {
			f.Add([]byte(c.in))
		}
	}
}

// FuzzFrames compares the Reader with encoding/xml. An element that is valid for
// both must have the same bytes, and the fast path must read it as the slow one does.
func FuzzFrames(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(io.MultiReader(strings.NewReader(header), bytes.NewReader(in)), testMax)
		if _, err := r.Header(); err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(io.MultiReader(strings.NewReader(header), bytes.NewReader(in)))
		d.Token()
		for {
			element, err := r.Next()
			begin, end := nextElement(d)
			switch {
			case err != nil:
				var large *TooLargeError
				if end > begin && sound(in[begin:end]) && !errors.As(err, &large) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("error for %q: %v", in[begin:end], err)
				}
				return
			case end == begin: // encoding/xml found an error inside
				if s, err := r.Parse(element); err == nil {
					t.Fatalf("accepted %q as %+v", element, s)
				}
				return
			case !bytes.Equal(element, in[begin:end]):
				t.Fatalf("cut %q, want %q", element, in[begin:end])
			}
			agree(t, r, element)
		}
	})
}

// nextElement is where the next valid top-level element after the header begins and ends. Both are 0 if there is none.
func nextElement(d *xml.Decoder) (begin, end int64) {
	for depth := 0; ; {
		at := d.InputOffset()
		tok, err := d.Token()
		if err != nil {
			return 0, 0
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if depth == 0 {
				begin = at
			}
			depth++
		case xml.EndElement:
			if depth--; depth < 0 {
				return 0, 0
			}
			if depth == 0 {
				return begin - int64(len(header)), d.InputOffset() - int64(len(header))
			}
		case xml.CharData:
			if depth == 0 && len(bytes.Trim(tok, " \t\r\n")) > 0 {
				return 0, 0
			}
		default:
			return 0, 0 // forbidden in XMPP
		}
	}
}

// sound reports whether both must accept the element. encoding/xml accepts a '<' or
// '/' at some wrong places, for which the Reader gives an error.
func sound(element []byte) bool {
	s := scanner{}
	n, done, err := s.scan(element)
	return err == nil && done && n == len(element)
}

// FuzzSplits: the result is the same however the bytes are cut.
func FuzzSplits(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		all := header + string(in)
		want := fmt.Sprint(hear(strings.NewReader(all)))
		if got := fmt.Sprint(hear(iotest.OneByteReader(strings.NewReader(all)))); got != want {
			t.Fatalf("byte by byte %q, whole %q", got, want)
		}
		for i := len(header); i < len(all); i += 1 + len(all)/16 {
			if got := fmt.Sprint(hear(io.MultiReader(strings.NewReader(all[:i]), strings.NewReader(all[i:])))); got != want {
				t.Fatalf("cut at %d: %q, whole %q", i, got, want)
			}
		}
	})
}

// FuzzText: this package and encoding/xml read back what was written. A text that
// XML cannot carry is an error, and nothing is written.
func FuzzText(f *testing.F) {
	for _, s := range []string{`{"a":"& < > ]]> \" '"}`, "a\r\nb\rc\td", "漢字 😀", "\x00", "\xff", "\uFFFE", "]]]>"} {
		f.Add("id-1", s)
		f.Add(s, "{}")
	}
	f.Fuzz(func(t *testing.T, id, text string) {
		out, err := AppendMessage([]byte("before"), id, []byte(text))
		if err != nil {
			if string(out) != "before" {
				t.Fatalf("an error, but wrote %q", out)
			}
			if carriable(id) && carriable(text) {
				t.Fatalf("error for %q, %q: %v", id, text, err)
			}
			return
		}
		element := out[len("before"):]
		if !carriable(id) || !carriable(text) {
			t.Fatalf("wrote what XML cannot carry: %q", element)
		}
		r := NewReader(nil, len(element))
		want, err := r.parseAny(bytes.Clone(element))
		if err != nil || want.ID != id || string(want.GCM) != text {
			t.Fatalf("%q: slow path read %q, %q, %v", element, want.ID, want.GCM, err)
		}
		agree(t, r, element)
	})
}

// carriable asks encoding/xml: it writes U+FFFD for what XML cannot carry.
func carriable(s string) bool {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s))
	return strings.Count(b.String(), "\uFFFD") == strings.Count(s, "\uFFFD") && strings.ToValidUTF8(s, "") == s
}
