package process

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"

	"golang.org/x/sys/unix"

	"balhost/host/internal/pluginhost/artefact"
)

// maxSocketRoot leaves room for go-plugin's "/plugin-dir…/plugin…", 45 bytes, in
// the 104 (macOS) or 108 (Linux) that a unix socket's path may have.
const maxSocketRoot = 55

// plainPath is what a socket's path may be made of. It is a field of go-plugin's
// handshake, which has bars between fields, and gRPC of other languages uses it in a
// URL.
var plainPath = regexp.MustCompile(`^[A-Za-z0-9/._+=@,-]+$`)

// socketsName is what go-plugin names its folders, by os.MkdirTemp. The folder for
// sockets may hold a person's files too, put there by mistake.
var socketsName = regexp.MustCompile(`^plugin-dir[0-9]+$`)

// SocketRoot is the private folder for plugins' sockets. It is in the data folder. If
// that path can't be a socket's, it is in the system's temporary folder, under a name
// that the next start finds again.
func SocketRoot(dataDir string) string {
	fits := func(root string) bool { return len(root) <= maxSocketRoot && plainPath.MatchString(root) }
	root := filepath.Join(dataDir, "run")
	if fits(root) {
		return root
	}
	name := fmt.Sprintf("balhost-%x", sha256.Sum256([]byte(dataDir)))[:20]
	if temp := os.TempDir(); filepath.IsAbs(temp) && fits(filepath.Join(temp, name)) {
		return filepath.Join(temp, name)
	}
	return filepath.Join("/tmp", name)
}

// openSockets makes the folder if it is missing, and checks that it is this user's
// alone. Each process's start calls it, since a cleaner of temporary files may remove
// the folder at any time.
func openSockets(root string) error {
	if err := os.MkdirAll(root, 0o700); errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("make folder for plugins' sockets: %w", err)
	}
	return checkSockets(root) // which says what else it is
}

func checkSockets(root string) error {
	info, err := os.Lstat(root)
	if err != nil {
		return fmt.Errorf("look at folder for plugins' sockets: %w", err)
	}
	// In a folder that all may write to, it could be somebody else's.
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !info.IsDir():
		return fmt.Errorf("folder for plugins' sockets %s is no folder (%s): move it away", root, info.Mode())
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("folder for plugins' sockets %s belongs to user %d, and the host runs as user %d: chown %d %s, or remove it", root, st.Uid, os.Geteuid(), os.Geteuid(), root)
	case info.Mode().Perm() != 0o700:
		return fmt.Errorf("folder for plugins' sockets %s must be for its user alone (mode 0700, not %04o): chmod 700 %s", root, info.Mode().Perm(), root)
	}
	return nil
}

// sweepSockets removes what a killed host left in the folder: what go-plugin made
// there, and nothing else.
func sweepSockets(root string) error {
	left, err := os.ReadDir(root)
	if err != nil {
		return fmt.Errorf("sweep plugins' sockets: %w", err)
	}
	var errs []error
	for _, entry := range left {
		if entry.IsDir() && socketsName.MatchString(entry.Name()) {
			errs = append(errs, os.RemoveAll(filepath.Join(root, entry.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sweep plugins' sockets: %w", err)
	}
	return nil
}

// Unfit says why the sockets of processes on a data folder could not be made, with
// the mend; nothing is made. "": they could, as far as can be seen.
func Unfit(dataDir string) string {
	root := SocketRoot(dataDir)
	if _, err := os.Lstat(root); err == nil {
		if err := checkSockets(root); err != nil {
			return err.Error()
		}
	} else if there := artefact.Nearest(filepath.Dir(root)); unix.Access(there, unix.W_OK|unix.X_OK) != nil {
		return fmt.Sprintf("plugins' sockets go to %s, and user %d may make nothing in %s: give it that folder, or set TMPDIR", root, os.Geteuid(), there)
	}
	return ""
}
