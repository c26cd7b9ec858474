// Package clocktest builds programs whose wall clock a test can set. It changes
// [time.Now] in Go's own package time, with the -overlay flag of go build: the wall
// clock is shifted by the value in a file. Monotonic readings do not change, as after
// settimeofday. Start at [Build].
//
// The overlay is made from the source of the installed Go; this package has no copy of
// it. Build fails if that source is not as this package expects.
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

// Clock is the name of a file that the programs map. It has the shift of their wall
// clocks, in nanoseconds, in the machine's byte order.
type Clock string

// Set sets the shift. It counts from the next reading on.
func (c Clock) Set(by time.Duration) error {
	f, err := os.OpenFile(string(c), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(by)), 0)
	return errors.Join(err, f.Close())
}

// Build builds packages of the module that dir is in, into the folder out. Their clock
// is c. At first c has no shift.
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

// The text added goes into Go's time.go, after the text before.
const (
	before = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	added  = "\tsec, nsec = shifted(sec, nsec)\n"
)

// reads is how time.go reads the wall clock. It may occur only in Now.
const reads = "runtimeNow()"

// source is the file that is added to package time. It maps the clock at the start
// and makes no system call later, because timers read the clock where none is allowed.
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

// shifted is the wall clock plus the shift in the file.
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

// write makes the overlay's files in dir. list is the name of the file that lists them.
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

// change puts added into time.go. It refuses a source that reads the clock at another
// place too, because some readings would then not be shifted.
func change(original string) (string, error) {
	calls := strings.Count(original, reads) - strings.Count(original, "func "+reads)
	if strings.Count(original, before) != 1 || calls != 1 {
		return "", fmt.Errorf("package clocktest does not know the time.go of this Go (%d calls of %s): look at its Now, and adapt function change", calls, reads)
	}
	return strings.Replace(original, before, before+added, 1), nil
}
