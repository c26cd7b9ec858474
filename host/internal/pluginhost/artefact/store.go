package artefact

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"balhost/host/internal/pluginhost/policy"
)

// Store holds one plugin's private copies: a folder with files and folders named by their
// sha256, the record of what is known of them, "work", which is the plugin's
// working folder, and a mark.
type Store struct {
	dir   string
	whole map[string]File // copies that were seen to be whole, by sha256; owned by the caller of Whole, Put and Keep
}

// NewStore is the store of a plugin in a data folder. It makes nothing.
func NewStore(dataDir, name string) *Store {
	return &Store{dir: filepath.Join(dataDir, "plugins", name), whole: map[string]File{}}
}

// What lies in the data folder may be a person's, put there by mistake. So only
// files that have a name by this package's patterns are removed, in folders that it
// has marked as its own.
var (
	copyName  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	draftName = regexp.MustCompile(`^` + regexp.QuoteMeta(stagingPrefix) + `([0-9]+|record)$`)
)

const (
	stagingPrefix = ".staging-" // begins the name of a copy that isn't finished
	recordName    = "record.json"
	markName      = ".balhost" // marks a store
	markText      = "balhost keeps its copies of a plugin here, and removes them when it needs them no longer.\n"
)

// Work is the plugin's working folder.
func (s *Store) Work() string { return filepath.Join(s.dir, "work") }

// Path is where the copy of a content lies.
func (s *Store) Path(sha256 string) string { return filepath.Join(s.dir, sha256) }

// Program is what is started of a content's copy. folder is the copy, if it is a folder.
func (s *Store) Program(sha256 string) (path, folder string) {
	path = s.Path(sha256)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return filepath.Join(path, ProgramName), path
	}
	return path, ""
}

// Make makes the store's folders and its mark, those that are missing: they may
// have been removed while the host runs.
func (s *Store) Make() error {
	if err := os.MkdirAll(s.Work(), 0o700); err != nil {
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

// marked reports whether the folder is one that Make has made.
func (s *Store) marked() bool {
	info, err := os.Lstat(filepath.Join(s.dir, markName))
	return err == nil && info.Mode().IsRegular()
}

var errDamaged = errors.New("its content is not what its name says")

// Whole reports whether the copy of a content is there and not damaged, by a power cut
// for example. A damaged copy is removed, and the error says so. A copy that was read
// once is not read again until it changes.
func (s *Store) Whole(sha256 string) (bool, error) {
	now, ok := s.look(sha256)
	if !ok || s.whole[sha256] == now {
		return ok, nil
	}
	if sum, err := sumCopy(now.real); err != nil || sum != sha256 {
		return false, cmp.Or(errors.Join(err, removeCopy(now.real)), errDamaged)
	}
	s.whole[sha256] = now
	return true, nil
}

// look is what can be told of a content's copy without reading it.
func (s *Store) look(sha256 string) (f File, ok bool) {
	info, err := os.Lstat(s.Path(sha256))
	if !copyName.MatchString(sha256) || err != nil || !info.Mode().IsRegular() && !info.IsDir() { // the record may be edited
		return f, false
	}
	return describe(sha256, s.Path(sha256), info), true
}

// Remember writes the record, if there is something to remember, and removes all
// copies but those of the contents that are needed. What has no name yet stays.
func (s *Store) Remember(r policy.Record, needed []string) error {
	if r.Empty() && !s.marked() {
		return nil
	}
	unsaved := s.save(r)
	if unsaved != nil {
		unsaved = fmt.Errorf("the plugin's contents are not remembered over a restart: %w", unsaved)
	}
	old := func(sum string) bool { return copyName.MatchString(sum) && !slices.Contains(needed, sum) }
	maps.DeleteFunc(s.whole, func(sum string, _ File) bool { return old(sum) })
	err := s.remove(old)
	if err != nil {
		err = fmt.Errorf("remove old copies: %w", err)
	}
	return errors.Join(unsaved, err)
}

// Clear removes the copies of a plugin that is gone, and its folder unless the
// plugin left something in its working folder, or somebody else beside it.
func (s *Store) Clear() error {
	if !s.marked() {
		return nil
	}
	emptied := os.Remove(s.Work()) == nil
	err := s.remove(func(name string) bool { return name != markName || emptied })
	if err != nil {
		return fmt.Errorf("remove copies: %w", err)
	}
	_ = os.Remove(s.dir) // fails when it is not empty
	return nil
}

// remove removes the files that choose wants among those that this package has
// named. There is nothing to remove where there is no mark.
func (s *Store) remove(choose func(name string) bool) error {
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
		folder := entry.IsDir() && name != recordName && name != markName
		if ours && (entry.Type().IsRegular() || folder) && choose(name) {
			errs = append(errs, removeCopy(filepath.Join(s.dir, name)))
		}
	}
	return errors.Join(errs...)
}

// unlessGone is err, unless it says that a file has been removed, by somebody else.
func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Load reads the record. One that is missing or spoilt is empty: all that is lost
// is the way back.
func (s *Store) Load() (r policy.Record, err error) {
	text, err := os.ReadFile(s.Path(recordName))
	if errors.Is(err, fs.ErrNotExist) {
		return policy.Record{}, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return policy.Record{}, fmt.Errorf("read plugin's record: %w", err)
	}
	return r, nil
}

// save writes the record, whole or not at all. When it returns, the record and the
// names of the copies are on disk.
func (s *Store) save(r policy.Record) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err == nil {
		err = s.Make()
	}
	if err != nil {
		return err
	}
	tmp, err := os.Create(s.Path(stagingPrefix + "record"))
	if err != nil {
		return err
	}
	_, err = tmp.Write(text)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), s.Path(recordName)); err != nil {
		return err
	}
	return syncFile(s.dir)
}

// Stores are the names of the plugins that have a store in a data folder.
func Stores(dataDir string) (names []string, err error) {
	entries, err := os.ReadDir(filepath.Join(dataDir, "plugins"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, entry := range entries {
		if entry.IsDir() && NewStore(dataDir, entry.Name()).marked() {
			names = append(names, entry.Name())
		}
	}
	return names, err
}

// Sweep removes the unfinished copies of plugins that a killed host left in a
// data folder. A host that runs on it only loses the copy that it is making, and
// makes it again.
func Sweep(dataDir string) error {
	names, err := Stores(dataDir)
	errs := []error{err}
	for _, name := range names {
		errs = append(errs, NewStore(dataDir, name).remove(isDraft))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove unfinished copies of plugins: %w", err)
	}
	return nil
}

// isDraft reports whether a copy has no name of its own yet.
func isDraft(name string) bool { return strings.HasPrefix(name, stagingPrefix) }
