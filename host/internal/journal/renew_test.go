package journal

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// secret is in the records that Renew is to leave nowhere.
var secret = []byte("the token of a device")

func secretRecord(size int) []byte { return append(bytes.Repeat([]byte{'x'}, size), secret...) }

// whereIs names the files of a folder that have some bytes.
func whereIs(t *testing.T, dir string, what []byte) (names []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err == nil && bytes.Contains(b, what) {
			names = append(names, f.Name())
		}
	}
	return names
}

// renew is what a ledger does: commits, and then trims.
func renew(j *Journal) error {
	commit := func() error { return j.Append(j.Last()+1, []byte("nothing of it")) }
	return j.Renew(context.Background(), commit, func() error { return j.Trim(j.Last()) })
}

// Whatever a file was before, and however often it was used, nothing of old commits is left.
func TestRenewLeavesNothing(t *testing.T) {
	for _, n := range []int{1, 3, 7, 30, 100} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "journal")
			j := openOn(t, folder(dir))
			for c := range n {
				if err := j.Append(uint64(c+1), secretRecord(800)); err != nil {
					t.Fatal(err)
				}
				if c%10 == 9 { // spare files, and segments made of them
					if err := j.Trim(j.Last()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if len(whereIs(t, dir, secret)) == 0 {
				t.Fatal("the test appended nothing")
			}
			if err := renew(j); err != nil {
				t.Fatal(err)
			}
			if left := whereIs(t, dir, secret); left != nil {
				t.Errorf("left in %v", left)
			}
			last := j.Last()
			if err := j.Append(last+1, record(last+1, 1000)); err != nil { // the spare files are good for use
				t.Error(err)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if j = openOn(t, folder(dir)); j.Last() != last+1 {
				t.Errorf("last is %d, want %d", j.Last(), last+1)
			}
			if left := whereIs(t, dir, secret); left != nil {
				t.Errorf("left in %v after the next start", left)
			}
		})
	}
}

// Appends go on while the files are renewed, and what they bring is there.
func TestRenewWhileAppending(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := openOn(t, folder(dir))
	for range 20 {
		if err := j.Append(j.Last()+1, secretRecord(500)); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex // Append takes commits in order, from one caller
	add := func() error {
		mu.Lock()
		defer mu.Unlock()
		return j.Append(j.Last()+1, []byte("news"))
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
				if err := add(); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	upTo := uint64(0)
	err := j.Renew(context.Background(), func() error { upTo = j.Last(); return add() }, func() error { return j.Trim(upTo) })
	close(stop)
	if err := <-done; err != nil || t.Failed() {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if left := whereIs(t, dir, secret); left != nil {
		t.Errorf("left in %v", left)
	}
	news := 0
	if err := j.Read(0, func(_ uint64, r []byte) error {
		if string(r) == "news" {
			news++
		}
		return nil
	}); err != nil || news == 0 {
		t.Errorf("%d new records, %v", news, err)
	}
}

// However the power fails while files are renewed, no commit is lost that was not given up.
func TestRenewPowerCut(t *testing.T) {
	for left := range 400 {
		d := newDisk()
		j, err := open(Options{Dir: "journal", SegmentSize: small}, d)
		if err != nil {
			t.Fatal(err)
		}
		for range 9 {
			if err := j.Append(j.Last()+1, secretRecord(800)); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Trim(4); err != nil {
			t.Fatal(err)
		}
		d.mu.Lock()
		d.left = left
		d.mu.Unlock()
		acked := j.Last()
		commit := func() error {
			err := j.Append(j.Last()+1, record(j.Last()+1, 100))
			if err == nil {
				acked = j.Last()
			}
			return err
		}
		err = j.Renew(context.Background(), commit, func() error { return j.Trim(j.Last()) })
		j.Close() //nolint:errcheck // the power is off
		if err == nil {
			if left < 20 {
				t.Fatalf("renewed with %d operations", left)
			}
			return
		}
		again, err := open(Options{Dir: "journal", SegmentSize: small}, d.powerCut(rand.New(rand.NewPCG(1, uint64(left)))))
		if err != nil {
			t.Fatalf("after %d operations: %v", left, err)
		}
		if again.Last() < acked {
			t.Errorf("after %d operations: last is %d, %d was acked", left, again.Last(), acked)
		}
		again.Close() //nolint:errcheck // it was only looked at
	}
	t.Error("it never ended")
}
