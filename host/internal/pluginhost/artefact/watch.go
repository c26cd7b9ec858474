package artefact

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"
)

// Watch tells when the plugins folder may have changed.
type Watch struct {
	dir    string
	rescan time.Duration // some file systems have no events, and links can lead out of the folder
	hint   func()        // called at every event, at every error, since events may be lost, and every rescan
	log    hclog.Logger

	mu      sync.Mutex    // guards folders
	folders []string      // of plugins, that are watched too
	more    chan struct{} // they have changed; capacity 1
	said    bool          // owned by Run
}

// NewWatch makes one; Run runs it.
func NewWatch(dir string, rescan time.Duration, hint func(), log hclog.Logger) *Watch {
	return &Watch{dir: dir, rescan: rescan, hint: hint, log: log, more: make(chan struct{}, 1)}
}

// Also has these folders watched too, instead of those before, as many as may be.
func (w *Watch) Also(folders []string) {
	folders = folders[:min(len(folders), maxWatched)]
	w.mu.Lock()
	same := slices.Equal(w.folders, folders)
	w.folders = folders
	w.mu.Unlock()
	if same {
		return
	}
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// Run watches until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	tick := time.NewTicker(w.rescan)
	defer tick.Stop()
	notify, err := fsnotify.NewWatcher()
	if err != nil { // too few watches, for example: changes are seen later
		w.log.Warn("plugins folder is not watched, only looked at now and then (fs.inotify.max_user_instances may be too low)", "err", err)
		notify = &fsnotify.Watcher{} // its nil channels never fire
	} else {
		defer notify.Close()
	}
	var watched os.FileInfo
	for {
		// The folder may be missing, or another one than before. The watch on a folder
		// that was removed has ended by itself.
		if info, err := os.Stat(w.dir); err == nil && notify.Events != nil &&
			(!slices.Contains(notify.WatchList(), w.dir) || !os.SameFile(info, watched)) {
			_ = notify.Remove(w.dir) // not watched at first
			if w.add(notify, w.dir) {
				watched = info
				w.hint()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-w.more:
			if notify.Events == nil || !w.follow(notify) {
				continue
			}
		case <-notify.Events:
		case <-notify.Errors:
		case <-tick.C:
		}
		w.hint()
	}
}

// add watches one folder, and reports whether it does.
func (w *Watch) add(notify *fsnotify.Watcher, dir string) bool {
	err := notify.Add(dir)
	if err != nil && !w.said && !errors.Is(err, fs.ErrNotExist) {
		w.said = true
		w.log.Warn("plugins folder is not watched, only looked at now and then (fs.inotify.max_user_watches may be too low)", "err", err)
	}
	return err == nil
}

// follow watches the folders of plugins, and no others. It reports whether there are more
// than before: something may have happened in these until now.
func (w *Watch) follow(notify *fsnotify.Watcher) (more bool) {
	w.mu.Lock()
	want := map[string]bool{}
	for _, dir := range w.folders {
		want[dir] = true
	}
	w.mu.Unlock()
	for _, dir := range notify.WatchList() {
		if dir != w.dir && !want[dir] {
			_ = notify.Remove(dir) // it may be gone
		}
		delete(want, dir)
	}
	for dir := range want {
		more = w.add(notify, dir) || more
	}
	return more
}
