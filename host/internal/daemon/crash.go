package daemon

import (
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/hashicorp/go-hclog"
)

// crashFile is where in data_dir the trace of a crash goes as well: the log's
// reader may have stopped reading.
const crashFile = "crash.log"

// maxCrashes bounds the file, at a start.
const maxCrashes = 1 << 20

// keepCrashes has the runtime write a crash's trace to the file, too, and tells
// of what is in it. Without it the host runs as well.
func keepCrashes(dataDir string, log hclog.Logger) {
	path := filepath.Join(dataDir, crashFile)
	info, err := os.Lstat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		log.Warn("a crash's trace goes to stderr alone: not a regular file", "err", path)
		return
	case err == nil && info.Size() > 0:
		log.Warn("a host has crashed here: its trace is in the file; remove it once it is read", "err", path)
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if err == nil && info.Size() > maxCrashes {
		flags = os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err == nil {
		err = debug.SetCrashOutput(f, debug.CrashOptions{})
		f.Close() // the runtime has its own descriptor
	}
	if err != nil {
		log.Warn("a crash's trace goes to stderr alone", "err", err)
	}
}
