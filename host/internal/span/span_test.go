package span

import (
	"strings"
	"testing"

	"balhost/host/internal/entry"
)

const example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" // Spec: W3C Trace Context §3.2.2.5

func TestParse(t *testing.T) {
	for text, want := range map[string]struct{ ok, sampled bool }{
		example:                                {true, true},
		strings.TrimSuffix(example, "1") + "0": {true, false},
		"01" + example[2:] + "-more":           {true, true}, // of a later version what this one knows
		"cc" + example[2:]:                     {true, true},
		example + "-more":                      {},
		"01" + example[2:] + "more":            {},
		"ff" + example[2:]:                     {},
		strings.ToUpper(example):               {},
		"":                                     {},
		example[:54]:                           {},
		strings.ReplaceAll(example, "-", "_"):  {},
		"00-" + strings.Repeat("0", 32) + example[35:]:  {},
		example[:36] + strings.Repeat("0", 16) + "-01":  {},
		strings.Replace(example, "4bf9", "4bg9", 1):     {},
		strings.Replace(example, "4bf9", "é9", 1) + "x": {},
	} {
		is, sampled, ok := Parse(text)
		if ok != want.ok || sampled != want.sampled {
			t.Errorf("%q: valid %v, sampled %v", text, ok, sampled)
		}
		if ok && text == example && Traceparent(&is, "") != example {
			t.Errorf("%q became %q", text, Traceparent(&is, ""))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Fuzz(func(t *testing.T, text string) {
		is, sampled, ok := Parse(text)
		if ok && sampled && strings.HasPrefix(text, "00") && Traceparent(&is, "") != text[:53]+"01" {
			t.Errorf("%q became %q", text, Traceparent(&is, ""))
		}
	})
}

// An event that is not sampled has a traceparent of its own that says so, the same each time.
func TestUnsampled(t *testing.T) {
	const id = "01JDE0Z3N4V5X6Y7Z8A9B0C1D2"
	text := Traceparent(nil, id)
	if _, sampled, ok := Parse(text); !ok || sampled || text != Traceparent(nil, id) {
		t.Errorf("%q", text)
	}
	if text := Traceparent(nil, "not an id"); text != "" {
		t.Errorf("%q", text)
	}
}

// A message is sampled by the id of its trace, whoever made it, and whatever its sender says:
// the part that config says, and the same ones in each host.
func TestSample(t *testing.T) {
	for sample, want := range map[float64][2]int{0: {0, 0}, 0.1: {850, 1150}, 1: {10_000, 10_000}, 7: {10_000, 10_000}} {
		tr, n := New(sample, nil), 0
		for range 10_000 {
			if is, parent := tr.Begin(""); is != nil {
				n++
				if parent != [8]byte{} || is.ID == [8]byte{} || is.Hops != 0 {
					t.Fatalf("%+v below %x", is, parent)
				}
			}
		}
		if n < want[0] || n > want[1] {
			t.Errorf("of 10000 with %v, %d are traced", sample, n)
		}
	}
	low, high := "00-00000000000000010000000000000001-00f067aa0ba902b7-00", "00-0000000000000001ffffffffffffffff-00f067aa0ba902b7-01"
	tr := New(0.5, nil)
	if is, parent := tr.Begin(low); is == nil || TraceID(is) != low[3:35] || parent != [8]byte{0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 2, 0xb7} || is.ID == parent {
		t.Errorf("%+v below %x", is, parent)
	}
	if is, _ := tr.Begin(high); is != nil {
		t.Errorf("a device made the host sample its message")
	}
}

// Senders who choose ids that are sampled get no more of their messages traced than others,
// after the first hundred; the rest is sampled as if they said nothing.
func TestChosenIDs(t *testing.T) {
	const low = "00-0000000000000001ff00000000000001-00f067aa0ba902b7-01"
	tr, theirs, ours := New(0.01, nil), 0, 0
	for range 10_000 {
		switch is, parent := tr.Begin(low); {
		case is == nil:
		case TraceID(is) == low[3:35]:
			theirs++
		default:
			ours++
			if parent != [8]byte{} {
				t.Fatalf("our trace is below a span of the sender's: %x", parent)
			}
		}
	}
	if theirs < 150 || theirs > 200 || ours > 200 {
		t.Errorf("of 10000 chosen ids, %d are traced, and %d as traces of ours", theirs, ours)
	}
	for tr = New(1, nil); theirs > 0; theirs-- {
		if is, _ := tr.Begin(low); is == nil || TraceID(is) != low[3:35] {
			t.Fatal("where all are traced, one is not")
		}
	}
}

// A trace ends: what the 33rd handler makes is not traced.
func TestHops(t *testing.T) {
	is := &entry.TraceSpan{Trace: [16]byte{1}, ID: [8]byte{1}}
	n := 0
	for ; is != nil; n++ {
		is = Child(Handler(Child(is)))
	}
	if n != MaxHops+1 {
		t.Errorf("after %d", n)
	}
}

// Without a tracer nothing is made.
func TestOffCostsNothing(t *testing.T) {
	var off *Tracer
	if n := testing.AllocsPerRun(100, func() {
		if is, _ := off.Begin(example); is != nil || off.On() || Child(nil) != nil || Handler(nil) != nil {
			t.Error("it traces")
		}
		off.Tell(Done{})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// No token is in a span, whole.
func TestNoTokens(t *testing.T) {
	const token = "dGhpcyBpcyBhIHRva2VuIG9mIGEgcGhvbmU"
	facts := Device(nil, token)
	if why := Why("no order of "+token+"\n"+strings.Repeat("x", 1000), token); strings.Contains(why, token) || strings.Contains(why, "\n") || len(why) > 300 {
		t.Errorf("%q", why)
	}
	if strings.Contains(facts[0].Text, token) || facts[0].Text != token[:16]+"…" {
		t.Errorf("%+v", facts)
	}
	if len(Text(nil, "k", "")) != 0 || Device(nil, "") != nil {
		t.Error("an empty fact")
	}
}
