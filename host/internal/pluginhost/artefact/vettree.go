package artefact

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// vetTree says why a folder's entries may not be run; "": they may.
func vetTree(root string) (reason string) {
	err := walk(root, func(n node) error {
		switch mode := n.info.Mode(); {
		case mode.Type() == fs.ModeSymlink:
			reason = vetLink(root, n)
		case !mode.IsDir() && !mode.IsRegular():
			reason = fmt.Sprintf("%s is no file, folder or link (%s): remove it", n.full, mode)
		default:
			reason = trusted("its entry", n.full, n.info)
		}
		need := uint32(unix.R_OK)
		if n.info.IsDir() {
			need |= unix.X_OK
		}
		if reason == "" && unix.Access(n.full, need) != nil && n.info.Mode().Type() != fs.ModeSymlink {
			reason = fmt.Sprintf("%s can't be read by user %d, the host's: chmod -R a+rX %s", n.full, os.Geteuid(), root)
		}
		if reason != "" {
			return filepath.SkipAll
		}
		return nil
	})
	if err != nil {
		return "its folder can't be looked at: " + err.Error()
	}
	return reason
}

// vetLink says why a link is not taken: its copy would lead out of the copied folder.
func vetLink(root string, n node) string {
	target, err := os.Readlink(n.full)
	if err != nil {
		return "its link can't be read: " + err.Error()
	}
	to := filepath.Join(filepath.Dir(n.full), target)
	if real, err := filepath.EvalSymlinks(n.full); err == nil {
		to = real
	}
	if !filepath.IsAbs(target) && strings.HasPrefix(to, root+string(filepath.Separator)) {
		return ""
	}
	mend := "put a copy there, or a relative link to what is in the folder"
	if strings.Contains(filepath.Base(n.full), "python") {
		mend = "make the virtual environment with python3 -m venv --copies"
	}
	return fmt.Sprintf("its link %s leads out of the folder, to %s, and what lies there is not staged: %s", n.full, target, mend)
}
