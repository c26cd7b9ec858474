package daemon

import (
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/hashicorp/go-hclog"
)

// CrashFile is the file in data_dir that also gets the trace of a crash: the reader
// of the log may have stopped reading.
const CrashFile = "crash.log"

// maxCrashes bounds the file's size at a start.
const maxCrashes = 1 << 20

// keepCrashes makes the runtime write a crash's trace to the file too, and logs that an
// earlier trace is there. The host also runs without the file.
func keepCrashes(dataDir string, log hclog.Logger) {
	path := filepath.Join(dataDir, CrashFile)
	info, err := os.Lstat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		log.Warn("a crash's trace goes only to stderr: not a regular file", "err", path)
		return
	case err == nil && info.Size() > 0:
		log.Warn("an earlier host crashed: its trace is in the file; read it, then remove it", "err", path)
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
		log.Warn("a crash's trace goes only to stderr", "err", err)
	}
}
