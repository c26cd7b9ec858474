package clocktest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A shift moves the wall clock. It changes no duration that is measured across it.
func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	dir := t.TempDir()
	clock := Clock(filepath.Join(dir, "clock"))
	for name, text := range map[string]string{"go.mod": "module shifted\n\ngo 1.26\n", "main.go": program} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Build(dir, dir, clock, "", "."); err != nil {
		t.Fatal(err)
	}
	for _, by := range []time.Duration{0, 30 * time.Second, -30 * time.Second, 48 * time.Hour, -48 * time.Hour, -1500 * time.Millisecond} {
		if err := clock.Set(0); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(filepath.Join(dir, "shifted"), string(clock), strconv.FormatInt(int64(by), 10))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("shifted by %v: %v\n%s", by, err, out)
		}
	}
}

// program shifts its own clock.
const program = `package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	n, _ := strconv.ParseInt(os.Args[2], 10, 64)
	by, start := time.Duration(n), time.Now()
	clock, err := os.OpenFile(os.Args[1], os.O_WRONLY, 0)
	if err == nil {
		_, err = clock.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(n)), 0)
	}
	if err != nil {
		panic(err)
	}
	timer := time.NewTimer(100 * time.Millisecond)
	<-timer.C
	now := time.Now()
	lived, wall := now.Sub(start), now.Round(0).Sub(start.Round(0))
	if lived < 0 || lived > 30*time.Second {
		fmt.Println("monotonic:", lived)
		os.Exit(1)
	}
	if off := (wall - lived - by).Abs(); off > 100*time.Millisecond {
		fmt.Println("wall:", wall, "instead of", by, "and", lived)
		os.Exit(1)
	}
}
`

// The source of an unknown Go version is refused.
func TestChangeRefuses(t *testing.T) {
	for _, original := range []string{
		"package time\n", before + before, before + "}\nfunc Since() { runtimeNow() }\n",
	} {
		if _, err := change(original); err == nil || !strings.Contains(err.Error(), "clocktest") {
			t.Errorf("%q: %v", original, err)
		}
	}
}
