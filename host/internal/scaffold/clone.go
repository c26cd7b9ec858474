package scaffold

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Clone finds a clone of balhost: it is named, or the running program is in it, or the
// current folder is.
func Clone(named string) (string, error) {
	if named != "" {
		path, err := filepath.Abs(named)
		if err != nil {
			return "", err
		}
		for _, dir := range []string{path, filepath.Dir(path)} { // its folder sdk may be meant
			if isClone(dir) {
				return dir, nil
			}
		}
		return "", fmt.Errorf("--sdk %s: that is no clone of balhost: sdk/wire/PROTOCOL.md is not in it", named)
	}
	if program, err := os.Executable(); err == nil {
		if program, err = filepath.EvalSymlinks(program); err == nil {
			if clone := upwards(filepath.Dir(program)); clone != "" {
				return clone, nil
			}
		}
	}
	if here, err := os.Getwd(); err == nil {
		if clone := upwards(here); clone != "" {
			return clone, nil
		}
	}
	return "", errors.New("the SDK is in a clone of balhost, and neither this program nor the current folder is in one: name it with --sdk PATH")
}

// upwards is the clone that a folder is in; "": none.
func upwards(dir string) string {
	for !isClone(dir) {
		above := filepath.Dir(dir)
		if above == dir {
			return ""
		}
		dir = above
	}
	return dir
}

func isClone(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "sdk", "wire", "PROTOCOL.md"))
	return err == nil
}
