package state

import (
	"fmt"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
)

// watch is badger's logger. Badger reports some of its worst errors only in its log: a
// table that was left out, a memtable that can't be flushed, a failed compaction. Any
// of these ends the ledger.
type watch struct {
	log hclog.Logger

	mu    sync.Mutex
	first error // the first bad news, before tell was called
	told  func(error)
}

// tell sends bad news to f from now on.
func (w *watch) tell(f func(error)) {
	w.mu.Lock()
	w.told = f
	first := w.first
	w.mu.Unlock()
	if first != nil {
		f(first)
	}
}

// seen returns the bad news so far.
func (w *watch) seen() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first
}

func (w *watch) bad(text string) {
	err := fmt.Errorf("badger: %s", text)
	w.mu.Lock()
	if w.first == nil {
		w.first = err
	}
	told := w.told
	w.mu.Unlock()
	if told != nil {
		told(err)
	}
}

func line(format string, args []any) string {
	return strings.TrimSpace(fmt.Sprintf(format, args...))
}

// Errorf is badger.Logger's.
func (w *watch) Errorf(format string, args ...any) {
	text := line(format, args)
	w.log.Error("badger has an error", "err", text)
	w.bad(text)
}

// Warningf is badger.Logger's. For badger a failed compaction is only a warning.
func (w *watch) Warningf(format string, args ...any) {
	text := line(format, args)
	w.log.Warn("badger warns", "err", text)
	if strings.Contains(text, "Compact FAILED") {
		w.bad(text)
	}
}

// Infof is badger.Logger's.
func (w *watch) Infof(format string, args ...any) {
	if w.log.IsDebug() {
		w.log.Debug("badger informs", "state", line(format, args))
	}
}

// Debugf is badger.Logger's.
func (w *watch) Debugf(format string, args ...any) {
	if w.log.IsTrace() {
		w.log.Trace("badger informs", "state", line(format, args))
	}
}
