package plugincheck

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// halves are what JSON can have in a string and UTF-8 can't. The last is a whole pair.
var halves = []json.RawMessage{
	json.RawMessage(`"\ud800"`), json.RawMessage(`"a\udc00b"`), json.RawMessage(`"\udc00\ud800"`),
	json.RawMessage(`"\ud83d\ud83d\ude00"`), json.RawMessage(`"\u0000\u2028\ufeff\ud83d\ude00"`),
}

// unicodes are texts that have broken programs, as strings of JSON.
func unicodes() (all []json.RawMessage) {
	const most = 2000 // bytes: with what a handler adds it is under the limit of a message to a device
	var every strings.Builder
	add := func() {
		b, err := json.Marshal(every.String())
		if err != nil {
			panic(err) // of a string
		}
		all = append(all, b)
		every.Reset()
	}
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if r > 0xFFFF && r%0x10000 > 0x40 && r%0x10000 < 0xFFF0 {
			continue // of the planes above the first, the beginnings and ends
		}
		if utf8.ValidRune(r) {
			every.WriteRune(r)
		}
		if every.Len() > most {
			add()
		}
	}
	add()
	return all
}

// strangely are the samples with a text, which is JSON, in place of each of their strings,
// one at a time.
func (c *check) strangely(text json.RawMessage) (all []json.RawMessage) {
	for _, sample := range append(c.o.Data, json.RawMessage(`{"text":"x"}`)) {
		all = append(all, replaced(sample, text)...)
	}
	return all
}

// replaced is a sample, once for each of its strings, with the text in its place.
func replaced(sample, text json.RawMessage) (all []json.RawMessage) {
	var root any
	d := json.NewDecoder(bytes.NewReader(sample))
	d.UseNumber()
	if d.Decode(&root) != nil {
		return nil
	}
	var walk func(v any, set func(any))
	walk = func(v any, set func(any)) {
		switch v := v.(type) {
		case string:
			set(text)
			if b, err := json.Marshal(root); err == nil {
				all = append(all, b)
			}
			set(v)
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				walk(v[key], func(to any) { v[key] = to })
			}
		case []any:
			for i := range v {
				walk(v[i], func(to any) { v[i] = to })
			}
		}
	}
	walk(root, func(to any) { root = to })
	return all
}

// unicode delivers every character, and halves of surrogate pairs, in each string of the
// samples.
func (c *check) unicode(_ context.Context, l *life) finding {
	const (
		mend = "§4, strings: they must be UTF-8; replace half of a surrogate pair (toWellFormed()), or refuse it with RETRY or REJECT"
		most = 4000 // deliveries
	)
	if !l.manifest.GetUpstream() {
		return none("it has no handler for upstreams")
	}
	c.know(l)
	row := "unicode"
	if _, n := c.flaws.of("changes"); n > 0 { // not because of the text
		row = "changes"
	}
	texts := append(slices.Clone(halves), unicodes()...)
	all := []json.RawMessage{json.RawMessage(`{"\ud83d":"x"}`)}
	for _, text := range texts {
		all = append(all, c.strangely(text)...)
	}
	all = all[:min(len(all), most)]
	codes := map[string]int{}
	for batch := range slices.Chunk(all, max(1, l.inFlight()/2)) {
		var ds []*delivery
		for i, data := range batch {
			ds = append(ds, &delivery{event: c.upstreamOf(l, i, data), dry: true, row: row})
		}
		if !l.session.finish(c.o.Patience, ds...) {
			return c.died(l, mend, "data with unusual characters has not ended within %v", c.o.Patience)
		}
		for _, d := range ds {
			codes[d.result.GetCode().String()]++
		}
	}
	if text, n := c.flaws.of("unicode"); n > 0 {
		return fails(mend, "%s", text)
	}
	return ok("every character and halves of pairs, in each string of the samples: %s", counts(codes))
}
