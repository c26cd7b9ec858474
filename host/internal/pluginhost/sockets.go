package pluginhost

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxSocketRoot leaves room for go-plugin's "/plugin-dir…/plugin…", 45 bytes, in
// the 104 (macOS) or 108 (Linux) that a unix socket's path may have.
const maxSocketRoot = 55

// socketRoot is the private folder that plugins' sockets go to: in the data
// folder, or, where that path is too long, in the system's temporary folder
// under a name that the next start finds again.
func socketRoot(dataDir string) string {
	root := filepath.Join(dataDir, "run")
	if len(root) <= maxSocketRoot {
		return root
	}
	name := fmt.Sprintf("balhost-%x", sha256.Sum256([]byte(dataDir)))[:20]
	if root = filepath.Join(os.TempDir(), name); len(root) <= maxSocketRoot {
		return root
	}
	return filepath.Join("/tmp", name)
}

// openSockets makes the folder and sweeps what a killed host left there.
func openSockets(root string) error {
	if err := os.Mkdir(root, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make folder for plugins' sockets: %w", err)
	}
	info, err := os.Lstat(root)
	if err != nil {
		return fmt.Errorf("look at folder for plugins' sockets: %w", err)
	}
	// In a folder that all may write to, it could be somebody else's.
	if st, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || info.Mode().Perm() != 0o700 || !ok || int(st.Uid) != os.Getuid() {
		return fmt.Errorf("folder for plugins' sockets %s must be a folder of this user with mode 0700, not %s: remove it", root, info.Mode())
	}
	left, err := os.ReadDir(root)
	if err != nil {
		return fmt.Errorf("sweep plugins' sockets: %w", err)
	}
	for _, entry := range left {
		if err := os.RemoveAll(filepath.Join(root, entry.Name())); err != nil {
			return fmt.Errorf("sweep plugins' sockets: %w", err)
		}
	}
	return nil
}
