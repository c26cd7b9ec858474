package backup

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func file(t testing.TB, blocks ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{Schema: 3, Store: "a", Commit: 7, Taken: time.Unix(1_700_000_000, 0).UTC(), About: 12})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		if err := w.Add(1, []byte(b)); err != nil {
			t.Fatal(err)
		}
	}
	info, err := w.Close()
	if err != nil || info.Bytes != int64(out.Len()) || info.Records != uint64(len(blocks)) {
		t.Fatalf("%+v of %d bytes: %v", info, out.Len(), err)
	}
	return out.Bytes()
}

func read(r io.Reader) (blocks []string, info Info, err error) {
	b, err := NewReader(r)
	if err != nil {
		return nil, info, err
	}
	for {
		block, err := b.Next()
		if errors.Is(err, io.EOF) {
			return blocks, b.Info(), nil
		} else if err != nil {
			return blocks, b.Info(), err
		}
		blocks = append(blocks, string(block))
	}
}

func TestRoundTrip(t *testing.T) {
	want := []string{"one", "", strings.Repeat("x", MaxBlock)}
	whole := file(t, want...)
	for _, r := range []io.Reader{bytes.NewReader(whole), iotest.HalfReader(bytes.NewReader(whole)), iotest.DataErrReader(bytes.NewReader(whole))} {
		got, info, err := read(r)
		if err != nil || !slices.Equal(got, want) || info.Commit != 7 || info.Records != 3 || info.Bytes != int64(len(whole)) {
			t.Errorf("%d blocks, %+v: %v", len(got), info, err)
		}
	}
}

// A file is refused if it is cut anywhere, or if any byte differs. The error says
// which. // P10
func TestRefused(t *testing.T) {
	whole := file(t, "one", strings.Repeat("two", 30))
	for n := range whole {
		if _, _, err := read(bytes.NewReader(whole[:n])); !errors.Is(err, ErrCut) {
			t.Errorf("cut to %d bytes of %d: %v", n, len(whole), err)
		}
		for bit := range 8 {
			bad := bytes.Clone(whole)
			bad[n] ^= 1 << bit
			if _, _, err := read(bytes.NewReader(bad)); err == nil || n >= len(title)+3 && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrCut) {
				t.Errorf("bit %d of byte %d flipped: %v", bit, n, err)
			}
		}
	}
	for name, tc := range map[string]struct {
		file string
		want error
	}{
		"newer":            {strings.Replace(string(whole), "backup 1\n", "backup 2\n", 1), ErrNewer},
		"much newer":       {strings.Replace(string(whole), "backup 1\n", "backup 117\n", 1), ErrNewer},
		"something else":   {"PK\x03\x04 and so on", ErrOther},
		"no version":       {"balhost backup \n", ErrOther},
		"a wrong version":  {"balhost backup 1x\n", ErrOther},
		"a long version":   {"balhost backup 99999999999999999999999999", ErrOther},
		"more at its end":  {string(whole) + "x", ErrDamaged},
		"two in one":       {string(whole) + string(whole), ErrDamaged},
		"a block left out": {strings.Replace(string(whole), string(whole[bytes.Index(whole, []byte("one"))-blockHead:][:blockHead+3]), "", 1), ErrDamaged},
	} {
		if _, _, err := read(strings.NewReader(tc.file)); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := errors.New("disk")
	if _, _, err := read(io.MultiReader(bytes.NewReader(whole[:40]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("a read that fails: %v", err)
	}
}
