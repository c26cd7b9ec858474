package backup

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"balhost/host/internal/keyfile"
)

var testKey, otherKey = keyfile.New([keyfile.Size]byte{7}), keyfile.New([keyfile.Size]byte{8})

func file(t testing.TB, key *keyfile.Key, blocks ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{Schema: 3, Store: "a", Commit: 7, Taken: time.Unix(1_700_000_000, 0).UTC(), About: 12}, key)
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

func read(r io.Reader, key *keyfile.Key) (blocks []string, info Info, err error) {
	b, err := NewReader(r, key)
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
	for _, key := range []*keyfile.Key{nil, testKey} {
		whole := file(t, key, want...)
		for _, r := range []io.Reader{bytes.NewReader(whole), iotest.HalfReader(bytes.NewReader(whole)), iotest.DataErrReader(bytes.NewReader(whole))} {
			got, info, err := read(r, key)
			if err != nil || !slices.Equal(got, want) || info.Commit != 7 || info.Records != 3 || info.Bytes != int64(len(whole)) || (info.Encrypted != nil) != (key != nil) {
				t.Errorf("%d blocks, %+v: %v", len(got), info, err)
			}
		}
		if got, _, err := read(bytes.NewReader(whole), cmp.Or(key, otherKey)); err != nil || !slices.Equal(got, want) {
			t.Errorf("a key is given for what is not encrypted: %d blocks, %v", len(got), err)
		}
	}
}

// With a key no text of a record is in the file. Who has another key or none gets no record, and
// is told why. Whether the file is whole can be told without a key.
func TestEncrypted(t *testing.T) {
	token := strings.Repeat("token", 20)
	if !bytes.Contains(file(t, nil, "a", token), []byte(token)) {
		t.Fatal("the text is nowhere without a key either")
	}
	whole := file(t, testKey, "a", token)
	if bytes.Contains(whole, []byte("token")) {
		t.Error("the text is in the file")
	}
	for _, key := range []*keyfile.Key{nil, otherKey} {
		if got, _, err := read(bytes.NewReader(whole), key); !errors.Is(err, keyfile.ErrKey) || got != nil || !strings.Contains(err.Error(), fmt.Sprintf("%x", testKey.ID())) {
			t.Errorf("with %v: %q, %v", key, got, err)
		}
	}
	for n := range len(whole) + 1 {
		b, err := NewSealedReader(bytes.NewReader(whole[:n]))
		var block []byte
		for err == nil {
			if block, err = b.Next(); block != nil {
				t.Error("a record without a key")
			}
		}
		if n < len(whole) && !errors.Is(err, ErrCut) || n == len(whole) && (!errors.Is(err, io.EOF) || b.Info().Records != 2) {
			t.Errorf("%d bytes of %d: %v", n, len(whole), err)
		}
	}
}

// Who has no key can change nothing that is not noticed, although all checksums are made right. No block
// after the first wrong one is given out.
func TestForged(t *testing.T) {
	whole, other := split(t, file(t, testKey, "one", "two", "six")), split(t, file(t, testKey, "one", "two", "six"))
	for name, c := range map[string]struct {
		blocks int // before the error
		change func(b [][]byte) [][]byte
	}{
		"swapped":             {0, func(b [][]byte) [][]byte { b[2], b[3] = b[3], b[2]; return b }},
		"left out":            {1, func(b [][]byte) [][]byte { return slices.Delete(b, 3, 4) }},
		"the last left out":   {2, func(b [][]byte) [][]byte { return slices.Delete(b, 4, 5) }},
		"twice":               {1, func(b [][]byte) [][]byte { return slices.Insert(b, 3, b[2]) }},
		"of another file":     {0, func(b [][]byte) [][]byte { b[2] = other[2]; return b }},
		"end of another file": {3, func(b [][]byte) [][]byte { b[5] = other[5]; return b }},
		"all but the header":  {0, func(b [][]byte) [][]byte { return append(b[:2:2], other[2:]...) }},
		"another header": {0, func(b [][]byte) [][]byte {
			b[1] = bytes.Replace(b[1], []byte(`"commit":7`), []byte(`"commit":9`), 1)
			return b
		}},
		"a bit": {0, func(b [][]byte) [][]byte { b[2] = bytes.Clone(b[2]); b[2][blockHead+20] ^= 1; return b }},
		"fewer records": {3, func(b [][]byte) [][]byte {
			b[5] = bytes.Replace(b[5], []byte(`"records":3`), []byte(`"records":2`), 1)
			return b
		}},
		"nothing": {3, func(b [][]byte) [][]byte { return b }},
	} {
		forged := join(t, c.change(slices.Clone(whole)))
		b, err := NewSealedReader(bytes.NewReader(forged))
		for err == nil {
			_, err = b.Next()
		}
		if !errors.Is(err, io.EOF) {
			t.Fatalf("%s: the test makes wrong checksums: %v", name, err)
		}
		blocks, _, err := read(bytes.NewReader(forged), testKey)
		if name == "nothing" && err != nil || name != "nothing" && (!errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "does not have the key")) || len(blocks) != c.blocks {
			t.Errorf("%s: %d blocks, %v", name, len(blocks), err)
		}
	}
}

// split is a file's first line and its blocks.
func split(t *testing.T, file []byte) (parts [][]byte) {
	t.Helper()
	n := bytes.IndexByte(file, '\n') + 1
	parts, file = append(parts, file[:n]), file[n:]
	for len(file) > 0 {
		n := blockHead + int(binary.BigEndian.Uint32(file[1:]))
		parts, file = append(parts, file[:n]), file[n:]
	}
	return parts
}

// join makes a file of parts, with right checksums.
func join(t *testing.T, parts [][]byte) (file []byte) {
	t.Helper()
	for i, p := range parts {
		p = bytes.Clone(p)
		if i > 0 && p[0] == kindEnd {
			payload := p[blockHead:]
			old := regexp.MustCompile(`"sha256":"([0-9a-f]+)"`).FindSubmatch(payload)[1]
			sum := sha256.Sum256(file)
			copy(payload[bytes.Index(payload, old):], hex.EncodeToString(sum[:]))
		}
		if i > 0 {
			binary.BigEndian.PutUint32(p[1:], uint32(len(p)-blockHead))
			binary.BigEndian.PutUint32(p[5:], sum(p, p[blockHead:]))
		}
		file = append(file, p...)
	}
	return file
}

// A file is refused if it is cut anywhere, or if any byte differs. The error says
// which. // P10
func TestRefused(t *testing.T) {
	for _, key := range []*keyfile.Key{nil, testKey} {
		whole := file(t, key, "one", strings.Repeat("two", 30))
		for n := range whole {
			if _, _, err := read(bytes.NewReader(whole[:n]), key); !errors.Is(err, ErrCut) {
				t.Errorf("cut to %d bytes of %d: %v", n, len(whole), err)
			}
			for bit := range 8 {
				bad := bytes.Clone(whole)
				bad[n] ^= 1 << bit
				if _, _, err := read(bytes.NewReader(bad), key); err == nil || n >= len(title)+3 && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrCut) {
					t.Errorf("bit %d of byte %d flipped: %v", bit, n, err)
				}
			}
		}
	}
	whole := file(t, nil, "one", strings.Repeat("two", 30))
	for name, tc := range map[string]struct {
		file string
		want error
	}{
		"newer":            {strings.Replace(string(whole), "backup 1\n", "backup 3\n", 1), ErrNewer},
		"not encrypted":    {strings.Replace(string(whole), "backup 1\n", "backup 2\n", 1), ErrDamaged},
		"much newer":       {strings.Replace(string(whole), "backup 1\n", "backup 117\n", 1), ErrNewer},
		"something else":   {"PK\x03\x04 and so on", ErrOther},
		"no version":       {"balhost backup \n", ErrOther},
		"a wrong version":  {"balhost backup 1x\n", ErrOther},
		"a long version":   {"balhost backup 99999999999999999999999999", ErrOther},
		"more at its end":  {string(whole) + "x", ErrDamaged},
		"two in one":       {string(whole) + string(whole), ErrDamaged},
		"a block left out": {strings.Replace(string(whole), string(whole[bytes.Index(whole, []byte("one"))-blockHead:][:blockHead+3]), "", 1), ErrDamaged},
	} {
		if _, _, err := read(strings.NewReader(tc.file), nil); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := errors.New("disk")
	if _, _, err := read(io.MultiReader(bytes.NewReader(whole[:40]), iotest.ErrReader(broken)), nil); !errors.Is(err, broken) {
		t.Errorf("a read that fails: %v", err)
	}
}
