// Package clocktest builds programs whose wall clock a test sets, each by
// itself: Go's own package time with one more step in [time.Now], by the
// -overlay flag of go build. It shifts the wall clock by what a file says and
// leaves monotonic readings alone, as settimeofday does. Start at [Build].
//
// Nothing of Go's source is kept here: the overlay is made from the installed
// one, and Build fails when that is not what this package knows.
package clocktest

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Clock is a file that programs map: by how much their wall clocks are shifted,
// as nanoseconds in the machine's byte order.
type Clock string

// Set shifts the clock, from the next reading on.
func (c Clock) Set(by time.Duration) error {
	f, err := os.OpenFile(string(c), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(by)), 0)
	return errors.Join(err, f.Close())
}

// Build builds the packages of the module around dir into the folder out. Their
// clock is c, which is right at first.
func Build(dir, out string, c Clock, flags string, packages ...string) error {
	if err := c.Set(0); err != nil {
		return err
	}
	overlay, err := write(out)
	if err != nil {
		return fmt.Errorf("make overlay: %w", err)
	}
	args := append([]string{"build", "-overlay", overlay, "-ldflags", "-s -w -X time.clockFile=" + string(c) + " " + flags, "-o", out + "/"}, packages...)
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %v with another clock: %w\n%s", packages, err, text)
	}
	return nil
}

// What is put into Go's time.go, and after what.
const (
	before = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	added  = "\tsec, nsec = shifted(sec, nsec)\n"
)

// reads are the ways by which time.go reads the wall clock; all are in Now, and
// in what calls Now.
const reads = "runtimeNow()"

// source is the file that is added to package time. It maps the clock at the
// start and makes no call later: timers read the clock where none is allowed.
const source = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var clockFile string // set by the linker

var clockShift = mapClock()

func mapClock() *atomic.Int64 {
	if clockFile == "" {
		return new(atomic.Int64)
	}
	fd, err := syscall.Open(clockFile, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("time: open " + clockFile + ": " + err.Error())
	}
	defer syscall.Close(fd)
	b, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("time: map " + clockFile + ": " + err.Error())
	}
	return (*atomic.Int64)(unsafe.Pointer(&b[0]))
}

// shifted is the wall clock as the file has it.
func shifted(sec int64, nsec int32) (int64, int32) {
	if clockShift == nil || runtimeIsBubbled() {
		return sec, nsec
	}
	total := int64(nsec) + clockShift.Load()
	sec += total / 1e9
	if total %= 1e9; total < 0 {
		sec, total = sec-1, total+1e9
	}
	return sec, int32(total)
}
`

// write makes the overlay's files in dir, and gives the name of the one that
// lists them.
func write(dir string) (list string, err error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	original, err := os.ReadFile(filepath.Join(folder, "time.go"))
	if err != nil {
		return "", err
	}
	changed, err := change(string(original))
	if err != nil {
		return "", err
	}
	replaced := map[string]string{
		filepath.Join(folder, "time.go"):  filepath.Join(dir, "overlay_time.txt"),
		filepath.Join(folder, "shift.go"): filepath.Join(dir, "overlay_shift.txt"),
	}
	index, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	list = filepath.Join(dir, "overlay.json")
	return list, errors.Join(
		os.WriteFile(filepath.Join(dir, "overlay_time.txt"), []byte(changed), 0o600),
		os.WriteFile(filepath.Join(dir, "overlay_shift.txt"), []byte(source), 0o600),
		os.WriteFile(list, index, 0o600),
	)
}

// change puts the step into time.go. It refuses a source in which the clock is
// read at another place too: a clock that is shifted half proves nothing.
func change(original string) (string, error) {
	calls := strings.Count(original, reads) - strings.Count(original, "func "+reads)
	if strings.Count(original, before) != 1 || calls != 1 {
		return "", fmt.Errorf("the time.go of this Go is not the one that package clocktest knows (%d calls of %s): look at its Now and mend change", calls, reads)
	}
	return strings.Replace(original, before, before+added, 1), nil
}
