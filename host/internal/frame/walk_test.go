package frame

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// Strings, escapes and what follows don't lead the walk astray.
func TestWalk(t *testing.T) {
	for _, c := range []struct {
		text  string
		n     int
		depth int
	}{
		{`{}`, 2, 1},
		{`{"a":[{}]},"b":[[[[]]]]`, 10, 3},
		{` [1]`, 4, 1},
		{`{"a":"}"}`, 9, 1},
		{`{"a\"}":1}]`, 10, 1},
		{`{"a\\":{}}`, 10, 2},
		{`{"a":"[[[["}`, 12, 1},
		{`{"a":[}`, 0, 2},
		{`{"a`, 0, 1},
		{`{"a\`, 0, 1},
		{`]`, 1, 0},
		{`1`, 0, 0},
		{``, 0, 0},
	} {
		n, deep := walk([]byte(c.text), c.depth)
		if n != c.n || deep {
			t.Errorf("%s: %d, %v, want %d", c.text, n, deep, c.n)
		}
		if n, deep := walk([]byte(c.text), c.depth-1); c.depth > 0 && (n != 0 || !deep) {
			t.Errorf("%s, up to %d: %d, %v", c.text, c.depth-1, n, deep)
		}
	}
}

// P10: of what is JSON, walk finds the end and the depth that the decoder finds.
func FuzzWalk(f *testing.F) {
	for _, c := range sheet {
		f.Add([]byte(c.text))
	}
	f.Add([]byte(`{"a\"}":["\\",{"[":[]}]} {}`))
	f.Add([]byte(strings.Repeat("[", 100)))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, _ := walk(b, math.MaxInt)
		if n > len(b) {
			t.Fatalf("%d of %d", n, len(b))
		}
		decoder := json.NewDecoder(bytes.NewReader(b))
		var value json.RawMessage
		if decoder.Decode(&value) != nil || value[0] != '{' && value[0] != '[' {
			return
		}
		if end := int(decoder.InputOffset()); n != end {
			t.Fatalf("%q: %d, want %d", b, n, end)
		}
		depth, most := 0, 0
		for tokens := json.NewDecoder(bytes.NewReader(value)); ; {
			token, err := tokens.Token()
			if err != nil {
				break
			}
			switch token {
			case json.Delim('{'), json.Delim('['):
				depth++
				most = max(most, depth)
			case json.Delim('}'), json.Delim(']'):
				depth--
			}
		}
		if got, deep := walk(b, most); got != n || deep {
			t.Fatalf("%q, %d deep: %d, %v", b, most, got, deep)
		}
		if got, deep := walk(b, most-1); got != 0 || !deep {
			t.Fatalf("%q, up to %d: %d, %v", b, most-1, got, deep)
		}
	})
}
