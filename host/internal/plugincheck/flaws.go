package plugincheck

import (
	"fmt"
	"sync"
)

// flaws are what is wrong with results and calls, by the row that tells of it.
type flaws struct {
	mu    sync.Mutex // guards what follows
	first map[string]string
	count map[string]int
}

// add notes a flaw. The first of a row is kept.
func (f *flaws) add(row, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == nil {
		f.first, f.count = map[string]string{}, map[string]int{}
	}
	if f.count[row]++; f.count[row] == 1 {
		f.first[row] = fmt.Sprintf(format, args...)
	}
}

// of is the first flaw of a row, with how many there were; 0: none.
func (f *flaws) of(row string) (first string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n = f.count[row]; n > 1 {
		return fmt.Sprintf("%d times; the first: %s", n, f.first[row]), n
	}
	return f.first[row], n
}
