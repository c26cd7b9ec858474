package xmpp

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// usual is a payload of 300 bytes. About one byte in ten must be escaped.
func usual(escaped bool) string {
	fill := strings.Repeat("abcdefghi&", 17)
	if !escaped {
		fill = strings.ReplaceAll(fill, "&", "j")
	}
	s := `{"data":{"text":"` + fill + `"},"from":"APA91bH-0123456789-0123456789-0123456789","message_id":"1234","category":"com.example.courier"}`
	return s + strings.Repeat(" ", 300-len(s))
}

// endless reads the same bytes again and again.
type endless struct {
	all []byte
	at  int
}

func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, e.all[e.at:])
	e.at = (e.at + n) % len(e.all)
	return n, nil
}

func upstream(t testing.TB, escaped bool) string {
	m, err := AppendMessage(nil, "", []byte(usual(escaped)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(m), "<message>", `<message to="482915730064@fcm.googleapis.com" from="devices@gcm.googleapis.com" type="normal">`, 1)
}

func steady(b testing.TB, stanza string) *Reader {
	r := NewReader(io.MultiReader(strings.NewReader(header), &endless{all: []byte(strings.Repeat(stanza, 35))}), 1<<20)
	if _, err := r.Header(); err != nil {
		b.Fatal(err)
	}
	return r
}

func readOne(t testing.TB, r *Reader) {
	element, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if s, err := r.Parse(element); err != nil || len(s.GCM) != 300 {
		t.Fatal(s, err)
	}
}

// Reading usual messages allocates nothing.
func TestReadingAllocatesNothing(t *testing.T) {
	r := steady(t, upstream(t, true))
	if n := testing.AllocsPerRun(1000, func() { readOne(t, r) }); n != 0 {
		t.Errorf("%v allocations per stanza", n)
	}
}

func BenchmarkRead(b *testing.B) {
	for _, escaped := range []bool{true, false} {
		b.Run(fmt.Sprintf("escaped=%v", escaped), func(b *testing.B) {
			r := steady(b, upstream(b, escaped))
			b.ReportAllocs()
			for b.Loop() {
				readOne(b, r)
			}
		})
	}
	b.Run("slow", func(b *testing.B) {
		r := steady(b, upstream(b, true))
		element, _ := r.Next()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.parseAny(element); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAppendMessage(b *testing.B) {
	json, dst := []byte(usual(true)), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := AppendMessage(dst, "d-000017", json); err != nil {
			b.Fatal(err)
		}
	}
}
