package xmpp

import (
	"errors"
	"fmt"
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

// Each attribute is compared with all others of its tag, so their number is
// bounded: a stanza with more is skipped, and the next one is read.
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
					t.Errorf("%d times %q: %d bytes are held for what is skipped", n, form, len(r.buf))
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

// A tag costs what is in it, and not what is declared around it.
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

// What is declared in one element is not known in the next.
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
