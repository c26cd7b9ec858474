package xmpp

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// wide is an empty message whose tag has n attributes of that form.
func wide(form string, n int) string {
	var b strings.Builder
	b.WriteString("<message")
	for i := range n {
		fmt.Fprintf(&b, form, i)
	}
	return b.String() + "/>"
}

// Each attribute is compared with all others of its tag, so their number has a
// limit. A stanza with more is skipped, and the next one is read.
func TestTooManyAttributes(t *testing.T) { // P10
	for _, form := range []string{` a%d=""`, ` xmlns:a%d="u%[1]d"`, ` a%d = '>'`} {
		for n, skipped := range map[int]bool{MaxAttrs: false, MaxAttrs + 1: true, (1 << 20) / (len(form) + 5): true} {
			for nested, stanza := range []string{wide(form, n), "<iq>" + wide(form, n) + "</iq>"} {
				const max = 4 << 20
				r := NewReader(strings.NewReader(stanza+"<presence/>"), max)
				element, err := r.Next()
				var large *TooLargeError
				switch {
				case skipped && (!errors.As(err, &large) || !large.Wide || large.Size != int64(len(stanza))):
					t.Errorf("%d times %q, nested %d: %v", n, form, nested, err)
				case skipped && len(r.buf) > 4*firstBuffer:
					t.Errorf("%d times %q: a buffer of %d bytes for a skipped element", n, form, len(r.buf))
				case !skipped && err != nil:
					t.Errorf("%d times %q: %v", n, form, err)
				case !skipped:
					if _, err := r.Parse(element); err != nil {
						t.Errorf("%d times %q: %v", n, form, err)
					}
				}
				element, err = r.Next()
				if err != nil || string(element) != "<presence/>" {
					t.Errorf("after %d times %q: %q %v", n, form, element, err)
				}
			}
		}
	}
}

// The cost of a tag does not depend on the declarations around it.
func TestManyDeclarationsAround(t *testing.T) { // P10
	var b strings.Builder
	const depth = MaxDepth - 1
	for i := range depth {
		b.WriteString(strings.TrimSuffix(wide(fmt.Sprintf(` xmlns:a%d_%%d="u%d_%%[1]d"`, i, i), MaxAttrs), "/>") + ">")
	}
	cost := func(children int) uint64 {
		stanza := b.String() + strings.Repeat(`<b:a xmlns:b="c"/>`, children) + strings.Repeat("</message>", depth)
		r := NewReader(strings.NewReader(stanza), 2<<20)
		element, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = r.Parse(element)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	const children = 10_000
	if per := (cost(children) - cost(0)) / children; per > 4<<10 { // a copy of the scope alone is 30 KiB
		t.Errorf("%d bytes are allocated for each child", per)
	}
}

// A declaration in one element is not valid in the next.
func TestScopeEnds(t *testing.T) {
	r := NewReader(strings.NewReader(`<iq><a xmlns:p="p"><p:b/></a><p:c/></iq>`), 1<<10)
	element, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	var bad *SyntaxError
	if _, err := r.Parse(element); !errors.As(err, &bad) || bad.Condition() != "bad-namespace-prefix" {
		t.Errorf("got %v", err)
	}
}

// P10: a stanza of any size, shape and end costs no more memory than the limit.
func TestHugeStanzaIsNotHeld(t *testing.T) {
	for name, fill := range map[string]string{
		"text": "x", "tags": "<a>", "empty tags": "<a/>", "CDATA": "<![CDATA[x]]>", "attribute": "<a b='",
		"end of CDATA": "<![CDATA[]",
	} {
		t.Run(name, func(t *testing.T) {
			unit := strings.Repeat(fill, 1<<20/len(fill))
			if i := strings.IndexAny(fill, "'["); i >= 0 && !strings.HasSuffix(fill, ">") {
				unit = strings.Repeat("]", 1<<20) // one token without end
			} else {
				fill = ""
			}
			parts := []io.Reader{strings.NewReader(header + "<message>" + fill)}
			huge := 16 << 20
			if name == "text" {
				huge = 200 << 20
			}
			for range huge / len(unit) {
				parts = append(parts, strings.NewReader(unit))
			}
			var before, now runtime.MemStats
			runtime.ReadMemStats(&before)
			got := hear(io.MultiReader(parts...))
			runtime.ReadMemStats(&now)
			if fmt.Sprint(got) != fmt.Sprint([]string{cut}) {
				t.Errorf("heard %q", got)
			}
			if took := now.TotalAlloc - before.TotalAlloc; took > 1<<20 {
				t.Errorf("allocated %d bytes for %d from the peer", took, huge)
			}
		})
	}
}

// P10: an element nested without limit is skipped to its end, and the stream goes on.
func TestDeepNesting(t *testing.T) {
	const depth = 100_000
	for how, wrap := range chunkings {
		got := hear(wrap(strings.NewReader(header + nest(depth) + after)))
		want := append([]string{fmt.Sprintf("too large: %d deep=true", 7*depth)}, afterwards...)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %q, want %q", how, got, want)
		}
	}
}

// A large stanza's buffer is freed afterwards, so that thousands of connections need little memory.
func TestBufferIsGivenBack(t *testing.T) {
	in := io.MultiReader(strings.NewReader(header+gcm(strings.Repeat("x", 1<<20))), strings.NewReader(gcm("{}")))
	r := NewReader(in, 2<<20)
	if _, err := r.Header(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.buf) != firstBuffer {
		t.Errorf("the buffer has %d bytes after a small stanza, want %d", len(r.buf), firstBuffer)
	}
}
