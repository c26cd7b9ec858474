package devloop

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	quiet  = 100 * time.Millisecond // after the last event: a save is several
	rescan = 2 * time.Second        // some file systems have no events, and events can be lost
)

// watch waits for saves in a source. It may wake for nothing: the source's print tells.
type watch struct {
	source Source
	notify *fsnotify.Watcher
}

func newWatch(s Source) *watch {
	notify, err := fsnotify.NewWatcher()
	if err != nil { // too few watches, for example: saves are seen a little later
		notify = &fsnotify.Watcher{} // its nil channels never fire
	}
	return &watch{s, notify}
}

func (w *watch) close() {
	if w.notify.Events != nil {
		w.notify.Close()
	}
}

// follow watches all folders of the source; a new one may have come.
func (w *watch) follow() {
	if w.notify.Events == nil {
		return
	}
	if info, err := os.Stat(w.source.Path); err == nil && !info.IsDir() { // an editor replaces the file
		_ = w.notify.Add(filepath.Dir(w.source.Path)) // as everywhere here: what is not watched, rescan sees
		return
	}
	_ = filepath.WalkDir(w.source.Path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil
		}
		if path != w.source.Path && w.source.ignores(path, true) {
			return filepath.SkipDir
		}
		_ = w.notify.Add(path)
		return nil
	})
}

// saved waits until something may have been saved and nothing more comes for a moment. It
// is false when ctx has ended.
func (w *watch) saved(ctx context.Context) bool {
	w.follow()
	limit, still := time.After(rescan), (<-chan time.Time)(nil)
	for {
		select {
		case <-ctx.Done():
			return false
		case e := <-w.notify.Events:
			if w.source.contains(e.Name) {
				still = time.After(quiet)
			}
		case <-w.notify.Errors: // events are lost
			return true
		case <-still:
			return true
		case <-limit:
			return true
		}
	}
}
