package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"balhost/host/internal/keyfile"
)

// damagedDisk has a closed journal of commits 1 to 12 of 1,000 bytes, three a
// segment, in segments 1 to 4; 5 is prepared.
func damagedDisk(t *testing.T) *memDisk {
	t.Helper()
	d := newDisk()
	j := openOn(t, d)
	appendTo(t, j, 12, 1000)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return d
}

// flip changes a byte of a segment.
func (d *memDisk) flip(number uint64, at int64) {
	d.mu.Lock() // the journal may be preparing a file
	defer d.mu.Unlock()
	d.names[segmentName(number, live)].bytes[at] ^= 0x40
}

// frameAt is where the nth frame of a segment begins, counted from 0.
func frameAt(n int64) int64 { return segmentHead + n*frameSize(1000) }

func TestDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(d *memDisk)
		want   []string // of the error
		commit uint64
	}{
		{"record in the middle", func(d *memDisk) { d.flip(2, frameAt(1)+100) }, []string{"journal/0000000000000002.seg", "at byte 5128 (commit 5)", "commit 7, in 0000000000000003.seg"}, 5},
		{"generation of a frame", func(d *memDisk) { d.flip(2, frameAt(1)) }, []string{"(commit 5)"}, 5},
		{"number of a frame", func(d *memDisk) { d.flip(2, frameAt(1)+8) }, []string{"(commit 5)"}, 5},
		{"length of a frame", func(d *memDisk) { d.flip(2, frameAt(1)+20) }, []string{"(commit 5)"}, 5},
		{"last frame but one", func(d *memDisk) { d.flip(4, frameAt(1)+27) }, []string{"0000000000000004.seg", "(commit 11)", "a whole frame of commit 12, which was appended later, is at byte 6160"}, 11},
		{"first frame of the last segment", func(d *memDisk) { d.flip(4, frameAt(0)+27) }, []string{"0000000000000004.seg", "at byte 4096 (commit 10)", "commit 11"}, 10},
		{"all frames of a segment", func(d *memDisk) { d.flip(3, frameAt(0)); d.flip(3, frameAt(1)); d.flip(3, frameAt(2)) }, []string{"0000000000000003.seg", "its first frame is not whole"}, 0},
		{"first frame of all", func(d *memDisk) { d.flip(1, frameAt(0)) }, []string{"0000000000000001.seg"}, 0},
		{"last frame of a segment", func(d *memDisk) { d.flip(2, frameAt(2)+99) }, []string{"(commit 6)", "commit 7"}, 6},
		{"head", func(d *memDisk) { d.flip(3, 25) }, []string{"0000000000000003.seg", "its head is not that of a segment"}, 0},
		{"head of the prepared one", func(d *memDisk) { d.flip(5, 1) }, []string{"0000000000000005.seg", "head"}, 0},
		{"empty file", func(d *memDisk) { d.names[segmentName(3, live)].bytes = nil }, []string{"0000000000000003.seg", "the file is empty"}, 0},
		{"file that ends in its head", func(d *memDisk) {
			n := d.names[segmentName(2, live)]
			n.bytes = n.bytes[:100]
		}, []string{"at byte 100", "inside its head"}, 0},
		{"file that ends early", func(d *memDisk) {
			n := d.names[segmentName(2, live)]
			n.bytes = n.bytes[:frameAt(1)]
		}, []string{"(commit 5)"}, 5},
		{"file that is all zeros", func(d *memDisk) { clear(d.names[segmentName(2, live)].bytes) }, []string{"0000000000000002.seg", "head"}, 0},
		{"missing segment", func(d *memDisk) { delete(d.names, segmentName(3, live)) }, []string{"0000000000000003.seg is damaged", "it is missing, while 0000000000000004.seg is there"}, 0},
		{"missing last segment", func(d *memDisk) { delete(d.names, segmentName(4, live)) }, []string{"it is missing"}, 0},
		{"swapped segments", func(d *memDisk) {
			a, b := segmentName(2, live), segmentName(3, live)
			d.names[a], d.names[b] = d.names[b], d.names[a]
		}, []string{"its head says that it is segment 3"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := damagedDisk(t)
			c.damage(d)
			before := d.ops
			_, err := open(Options{Dir: "journal", SegmentSize: small}, d)
			var damage *DamageError
			if !errors.As(err, &damage) || damage.Commit != c.commit {
				t.Fatalf("error %v", err)
			}
			for _, want := range append(c.want, "restore a backup") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q says nothing of %q", err, want)
				}
			}
			if d.ops != before+1 { // the folder is synced
				t.Errorf("%d operations changed what was refused", d.ops-before-1)
			}
		})
	}
}

// A frame is read again later: what has changed since is an error there too.
func TestDamageWhileOpen(t *testing.T) {
	d := newDisk()
	j := openOn(t, d)
	appendTo(t, j, 12, 1000)
	d.flip(2, frameAt(1)+500)
	var damage *DamageError
	if err := j.Read(0, func(uint64, []byte) error { return nil }); !errors.As(err, &damage) || damage.Commit != 5 {
		t.Errorf("read: %v", err)
	}
	if _, err := j.Get(5); !errors.As(err, &damage) {
		t.Errorf("get: %v", err)
	}
	if _, err := j.Get(6); err != nil {
		t.Errorf("get of another: %v", err)
	}
}

// The last commit may be torn, in any way.
func TestTornTail(t *testing.T) {
	for _, at := range []int64{0, 8, 16, 20, 24, 28, 500, 1027} {
		d := damagedDisk(t)
		d.flip(4, frameAt(2)+at)
		j := openOn(t, d)
		if got := commits(t, j, 1000); len(got) != 11 {
			t.Errorf("torn at %d: %v", at, got)
		}
		appendTo(t, j, 20, 1000)
		if got := commits(t, j, 1000); len(got) != 20 {
			t.Errorf("torn at %d, then appended: %v", at, got)
		}
	}
}

// A record may hold what looks like a frame, but can't know the generation.
func TestRecordsThatLookLikeFrames(t *testing.T) {
	d := newDisk()
	j := openOn(t, d)
	var forged []byte
	for c := range uint64(20) {
		forged = put(forged, nil, 1, c+1, 0, nil)
		forged = put(forged, nil, 0, c+1, 0, nil)
	}
	if err := errors.Join(j.Append(1, nil), j.Append(2, forged)); err != nil {
		t.Fatal(err)
	}
	j.Close()
	d.flip(1, segmentHead+frameSize(0)) // torn
	if j = openOn(t, d); j.Last() != 1 {
		t.Errorf("last is %d", j.Last())
	}
}

func TestOtherFiles(t *testing.T) {
	for name, want := range map[string]string{
		"notes.txt":              "journal/notes.txt is not a file of the journal: move it",
		"1.seg":                  "journal/1.seg is not a file",
		"00000000000000AA.seg":   "is not a file",
		"0000000000000000.seg":   "is not a file",
		"0000000000000003.seg.1": "is not a file",
		"new.tmp":                "",
		"0000000000000001.spare": "",
	} {
		d := newDisk()
		if _, err := d.create(name); err != nil {
			t.Fatal(err)
		}
		j, err := open(Options{Dir: "journal", SegmentSize: small}, d)
		switch {
		case want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v", name, err)
		case err == nil:
			appendTo(t, j, 1, 10)
			j.Close()
			if d.names[name] != nil {
				t.Errorf("%s is still there", name)
			}
		}
	}
}

func TestNewerVersion(t *testing.T) {
	d := damagedDisk(t)
	b := d.names[segmentName(4, live)].bytes
	binary.LittleEndian.PutUint32(b[8:], 3)
	binary.LittleEndian.PutUint32(b[32:], crc32.Checksum(b[:32], castagnoli))
	_, err := open(Options{Dir: "journal", SegmentSize: small}, d)
	if err == nil || !strings.Contains(err.Error(), "0000000000000004.seg has version 3 of the journal's format, but this balhost knows version 2") {
		t.Error(err)
	}
}

// P10: a disk that is full refuses the append that needs another segment, and
// nothing has happened. When it has room again, the journal goes on.
func TestFullDisk(t *testing.T) {
	d := newDisk()
	j := openOn(t, d)
	appendTo(t, j, 1, 1000)
	p := <-j.ready // the second is prepared
	j.ready <- p
	d.full.Store(true)
	var err error
	for err == nil {
		err = j.Append(j.Last()+1, record(j.Last()+1, 1000))
	}
	if !errors.Is(err, errFull) || j.Last() != 6 {
		t.Fatalf("last is %d, %v", j.Last(), err)
	}
	if d.names[making] != nil {
		t.Error("a part of a segment is still there")
	}
	if err := j.Append(7, record(7, 1000)); !errors.Is(err, errFull) {
		t.Error(err)
	}
	d.full.Store(false)
	appendTo(t, j, 20, 1000)
	if got := commits(t, j, 1000); len(got) != 20 {
		t.Errorf("commits %v", got)
	}
}

// After a failed sync nothing is appended any more.
func TestFailedSync(t *testing.T) {
	d := newDisk()
	j := openOn(t, d)
	appendTo(t, j, 1, 1000)
	p := <-j.ready
	j.ready <- p
	d.failing = 0
	if err := j.Append(2, record(2, 1000)); !errors.Is(err, errSync) {
		t.Fatal(err)
	}
	for _, err := range []error{j.Append(2, nil), j.AppendAll(2, nil), j.Trim(1), j.Cut(1)} {
		if !errors.Is(err, ErrBroken) || !errors.Is(err, errSync) {
			t.Error(err)
		}
	}
	if got := commits(t, j, 1000); len(got) != 1 {
		t.Errorf("commits %v", got)
	}
}

// FuzzOpen: whatever is done to the bytes of the files, Open has an error, or
// commits that were appended, in their order.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{3, 20, 30, 1})
	f.Add([]byte{0, 50, 255, 0})
	f.Add([]byte{1, 16, 0, 200, 2, 24, 1, 3, 4, 20, 1, 7})
	f.Fuzz(func(t *testing.T, edits []byte) {
		openEdited(t, edits, nil)
		openEdited(t, edits, testKey)
	})
}

func openEdited(t *testing.T, edits []byte, key *keyfile.Key) {
	d := newDisk()
	j := openWith(t, d, key)
	appendTo(t, j, 12, 1000)
	j.Close()
	for ; len(edits) >= 4; edits = edits[4:] { // segment, place in 1/256 and bytes, value
		node := d.names[segmentName(uint64(edits[0]%5)+1, live)]
		switch at := int(edits[1])*32 + int(edits[2])%32; {
		case edits[3] == 0 && edits[2] == 255:
			node.bytes = node.bytes[:min(at, len(node.bytes))]
		case edits[2] >= 250:
			other := d.names[segmentName(uint64(edits[3]%5)+1, live)].bytes
			copy(node.bytes[min(at, len(node.bytes)):], other[min(at, len(other)):])
		case at < len(node.bytes):
			node.bytes[at] ^= edits[3]
		}
	}
	j, err := open(Options{Dir: "journal", SegmentSize: small, Key: key}, d)
	if err != nil {
		return
	}
	defer j.Close()
	at := j.First()
	err = j.Read(0, func(c uint64, r []byte) error {
		if c != at || c > 12 || !bytes.Equal(r, record(c, 1000)) {
			t.Errorf("commit %d was never appended like this, at %d", c, at)
		}
		at++
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
