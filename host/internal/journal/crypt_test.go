package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"path/filepath"
	"strings"
	"testing"

	"balhost/host/internal/keyfile"
)

var testKey, otherKey = keyfile.New([keyfile.Size]byte{7}), keyfile.New([keyfile.Size]byte{8})

// onDisk reports whether a file of the disk has some bytes.
func (d *memDisk) has(what []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, node := range d.names {
		if bytes.Contains(node.bytes, what) {
			return true
		}
	}
	return false
}

// What is appended with a key is read with it, also after another start, Cut and Trim, and its
// text is nowhere on the disk. Without a key it is there.
func TestEncrypted(t *testing.T) {
	for _, key := range []*keyfile.Key{nil, testKey} {
		d := newDisk()
		j := openWith(t, d, key)
		appendTo(t, j, 12, 1000)
		if err := j.AppendAll(13, record(13, 1000), record(14, 1000), nil, record(16, 10)); err != nil {
			t.Fatal(err)
		}
		if err := j.Cut(15); err != nil {
			t.Fatal(err)
		}
		if err := j.Trim(4); err != nil {
			t.Fatal(err)
		}
		want := commits(t, j, 1000)
		if len(want) < 8 || want[len(want)-1] != 14 {
			t.Fatalf("commits %v", want)
		}
		j.Close()
		j = openWith(t, d, key)
		if got := commits(t, j, 1000); len(got) != len(want) {
			t.Errorf("%v after another start, %v before", got, want)
		}
		if shown := d.has(record(14, 100)); shown != (key == nil) {
			t.Errorf("with %v, the text is on the disk: %t", key, shown)
		}
		largest := small - segmentHead - frameHead - frameAlign - int(j.o.added())
		if err := j.Append(15, make([]byte, largest+1)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("too large: %v", err)
		}
		if err := j.Append(15, make([]byte, largest)); err != nil {
			t.Errorf("the largest: %v", err)
		}
	}
}

// No key, another key, or a key where there is none is an error that says so, and nothing is changed.
func TestWrongKey(t *testing.T) {
	for name, c := range map[string]struct {
		was, is *keyfile.Key
		want    error
	}{"none": {testKey, nil, keyfile.ErrKey}, "another": {testKey, otherKey, keyfile.ErrKey}, "needless": {nil, testKey, keyfile.ErrPlain}} {
		d := newDisk()
		j := openWith(t, d, c.was)
		appendTo(t, j, 12, 1000)
		j.Close()
		before, names := d.ops, len(d.names)
		if _, err := open(Options{Dir: "journal", SegmentSize: small, Key: c.is}, d); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if d.ops > before+1 || len(d.names) != names { // the folder is synced
			t.Errorf("%s: %d operations", name, d.ops-before)
		}
		if got := commits(t, openWith(t, d, c.was), 1000); len(got) != 12 {
			t.Errorf("%s: then %v", name, got)
		}
	}
}

// A frame that was changed by somebody without the key is an error, although its checksum is right;
// so is a frame of another place, and a damaged data key.
func TestForged(t *testing.T) {
	sum := func(b []byte) { // makes the checksum of the first frame right
		n := binary.LittleEndian.Uint32(b[20:])
		binary.LittleEndian.PutUint32(b[sumAt:], crc32.Update(crc32.Checksum(b[:sumAt], castagnoli), castagnoli, b[frameHead:frameHead+n]))
	}
	size := frameSize(1000 + keyfile.Overhead)
	for name, c := range map[string]struct {
		change func(b []byte) // of the first segment
		want   string
	}{
		"text":         {func(b []byte) { b[segmentHead+500] ^= 1; sum(b[segmentHead:]) }, "somebody has changed it"},
		"nonce":        {func(b []byte) { b[segmentHead+frameHead] ^= 1; sum(b[segmentHead:]) }, "somebody has changed it"},
		"other commit": {func(b []byte) { f := b[segmentHead:]; copy(f[24:size], f[size+24:2*size]); sum(f) }, "somebody has changed it"},
		"data key":     {func(b []byte) { b[60] ^= 1 }, "its data key is not whole"},
		"other data key": {func(b []byte) {
			b[60] ^= 1
			binary.LittleEndian.PutUint32(b[headBytes+keyBytes:], crc32.Checksum(b[headBytes:headBytes+keyBytes], castagnoli))
		}, "its data key can't be decrypted"},
	} {
		d := newDisk()
		j := openWith(t, d, testKey)
		appendTo(t, j, 12, 1000)
		j.Close()
		c.change(d.names[segmentName(1, live)].bytes)
		j, err := open(Options{Dir: "journal", SegmentSize: small, Key: testKey}, d)
		if err == nil {
			err = errors.Join(j.Read(0, func(uint64, []byte) error { return nil }), j.Close())
		}
		if damage := (*DamageError)(nil); !errors.As(err, &damage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// No nonce comes twice under one data key, even if the same commit is written twice at the same
// place of the same segment: after a torn append, and in two copies of the folder.
func TestNonces(t *testing.T) {
	d := newDisk()
	j := openWith(t, d, testKey)
	appendTo(t, j, 1, 1000)
	j.Close()
	var stored [][]byte
	for i := range 3 {
		d.flip(1, segmentHead+frameSize(1000+keyfile.Overhead)+100) // what an earlier round appended is torn
		j := openWith(t, d, testKey)
		if j.Last() != 1 {
			t.Fatalf("last is %d", j.Last())
		}
		if err := j.Append(2, record(uint64(i), 1000)); err != nil {
			t.Fatal(err)
		}
		s := j.segments[0]
		f, ok, err := s.cursor(segmentHead+frameSize(1000+keyfile.Overhead), s.size, readChunk).frame()
		if !ok || err != nil || f.commit != 2 {
			t.Fatalf("%+v, %v", f, err)
		}
		stored = append(stored, bytes.Clone(f.record))
		j.Close()
	}
	for i, a := range stored {
		for _, b := range stored[:i] {
			if bytes.Equal(a[:12], b[:12]) {
				t.Error("the same nonce came twice")
			}
		}
	}
}

// Search finds what a search of bytes can't: a text in the files, spare ones too, until Renew.
func TestSearch(t *testing.T) {
	for _, n := range []int{1, 3, 30, 100} {
		dir := filepath.Join(t.TempDir(), "journal")
		j := openWith(t, folder(dir), testKey)
		search := func() []string {
			t.Helper()
			found, err := j.Search(context.Background(), func(record []byte) bool { return bytes.Contains(record, secret) })
			if err != nil {
				t.Fatal(err)
			}
			return found
		}
		for c := range n {
			if err := j.Append(uint64(c+1), secretRecord(800)); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Append(j.Last()+1, nil); err != nil {
			t.Fatal(err)
		}
		if err := j.Trim(j.Last()); err != nil {
			t.Fatal(err)
		}
		if bytes := whereIs(t, dir, secret); bytes != nil {
			t.Errorf("the text itself is in %v", bytes)
		}
		if found := search(); len(found) == 0 || n >= 30 && len(found) < 2 {
			t.Errorf("%d appended, and found in %v", n, found)
		}
		if err := renew(j); err != nil {
			t.Fatal(err)
		}
		if left := search(); left != nil {
			t.Errorf("left in %v", left)
		}
		j.Close()
		if j = openWith(t, folder(dir), testKey); search() != nil {
			t.Error("left after the next start")
		}
	}
}
