package pluginhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// What lies in the data folder may be a person's, put there by mistake. So what
// is tidied up has a name that this package gives (these patterns), and, where
// copies are kept, a folder that it has marked as its own.
var (
	copyName    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	draftName   = regexp.MustCompile(`^` + regexp.QuoteMeta(stagingPrefix) + `([0-9]+|record)$`)
	socketsName = regexp.MustCompile(`^plugin-dir[0-9]+$`) // go-plugin's, by os.MkdirTemp
)

// markName is the file that marks a store.
const markName = ".balhost"

const markText = "balhost keeps its copies of a plugin here, and removes them when it needs them no longer.\n"

// make makes the store's folders and its mark, those that are missing: they may
// have been removed while the host runs.
func (s store) make() error {
	if err := os.MkdirAll(s.work(), 0o700); err != nil {
		return fmt.Errorf("make the plugin's private folder: %w", err)
	}
	if s.marked() {
		return nil
	}
	if err := os.WriteFile(filepath.Join(s.dir, markName), []byte(markText), 0o600); err != nil {
		return fmt.Errorf("mark the plugin's private folder: %w", err)
	}
	return nil
}

// marked reports whether the folder is one that make has made.
func (s store) marked() bool {
	info, err := os.Lstat(filepath.Join(s.dir, markName))
	return err == nil && info.Mode().IsRegular()
}

// remove removes the files that choose wants among those that this package has
// named. There is nothing to remove where there is no mark.
func (s store) remove(choose func(name string) bool) error {
	if !s.marked() {
		return nil
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		name := entry.Name()
		ours := copyName.MatchString(name) || draftName.MatchString(name) || name == recordName || name == markName
		if ours && entry.Type().IsRegular() && choose(name) {
			errs = append(errs, removeFile(filepath.Join(s.dir, name)))
		}
	}
	return errors.Join(errs...)
}

// removeFile removes a file that may have been removed by somebody else.
func removeFile(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// stores are the folders of a data folder that can be a plugin's.
func stores(dataDir string) (all []store, err error) {
	root := filepath.Join(dataDir, "plugins")
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, entry := range entries {
		if s := (store{dir: filepath.Join(root, entry.Name())}); entry.IsDir() && s.marked() {
			all = append(all, s)
		}
	}
	return all, err
}

func (s store) name() string { return filepath.Base(s.dir) }

// isDraft reports whether a copy has no name of its own yet.
func isDraft(name string) bool { return strings.HasPrefix(name, stagingPrefix) }
