package daemon

import (
	"os"
	"path/filepath"
	"testing"
)

// A container that may have little gives the Go runtime a third of it.
func TestMemoryFor(t *testing.T) {
	for text, want := range map[string]int64{
		"max\n": softMemory, "9223372036854771712\n": softMemory, "268435456\n": 268435456 / 3, "67108864\n": leastMemory, "odd": softMemory,
	} {
		name := filepath.Join(t.TempDir(), "limit")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := memoryFor([]string{name + ".none", name}); got != want {
			t.Errorf("%q: %d, should be %d", text, got, want)
		}
	}
	if got := memoryFor(nil); got != softMemory {
		t.Errorf("no file: %d", got)
	}
}
