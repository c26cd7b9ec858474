package artefact

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"
)

// Watch calls hint when the folder may have changed, until ctx ends: at every event, at
// every error, since events may be lost, and every rescan, since some file systems have
// no events and links can lead out of the folder.
func Watch(ctx context.Context, dir string, rescan time.Duration, hint func(), log hclog.Logger) {
	tick := time.NewTicker(rescan)
	defer tick.Stop()
	notify, err := fsnotify.NewWatcher()
	if err != nil { // too few watches, for example: changes are seen later
		log.Warn("plugins folder is not watched, only looked at now and then (fs.inotify.max_user_instances may be too low)", "err", err)
		notify = &fsnotify.Watcher{} // its nil channels never fire
	} else {
		defer notify.Close()
	}
	var watched os.FileInfo
	said := false
	for {
		// The folder may be missing, or another one than before. The watch on a folder
		// that was removed has ended by itself.
		if info, err := os.Stat(dir); err == nil && notify.Events != nil &&
			(len(notify.WatchList()) == 0 || !os.SameFile(info, watched)) {
			_ = notify.Remove(dir) // not watched at first
			if err := notify.Add(dir); err != nil {
				if !said && !errors.Is(err, fs.ErrNotExist) {
					said = true
					log.Warn("plugins folder is not watched, only looked at now and then (fs.inotify.max_user_watches may be too low)", "err", err)
				}
			} else {
				watched = info
				hint()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-notify.Events:
		case <-notify.Errors:
		case <-tick.C:
		}
		hint()
	}
}
