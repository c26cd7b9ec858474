package fcmv1

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"balhost/host/internal/regular"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long a key file must have been left alone until it is read: it may be
	// written in pieces.
	settle = 200 * time.Millisecond
	// patience is after how long it is read although its folder is not left alone: others
	// may write there all the time.
	patience = 10 * settle
	// rescan is how often it is read anyway: links may lead to other folders, and some
	// file systems tell nothing.
	rescan = time.Minute
)

// watchFile calls changed with the text of a file when that is another one than known, or
// can be read again, until ctx ends. It watches the folder, because files are replaced by renaming, and
// Kubernetes swaps a link beside the file. missed is told why the file can't be read.
func watchFile(ctx context.Context, path, known string, changed func(text string), missed func(error)) {
	notify, err := fsnotify.NewWatcher()
	if err != nil { // too few watches, for example: changes are seen later
		notify = &fsnotify.Watcher{} // its nil channels never fire
	} else {
		defer notify.Close()
		_ = notify.Add(filepath.Dir(path)) // without it, changes are seen later
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var restless time.Time // since when the folder was written to; zero: it is left alone
	stir := func() {
		if restless.IsZero() {
			restless = time.Now()
		}
		timer.Reset(min(settle, time.Until(restless.Add(patience))))
	}
	for {
		select {
		case <-notify.Events:
			stir()
			continue
		case <-notify.Errors:
			stir()
			continue
		case <-timer.C:
			restless = time.Time{}
			timer.Reset(rescan)
		case <-ctx.Done():
			return
		}
		text, err := regular.Read(path, maxBody)
		switch text := string(text); {
		case err != nil:
			known = "" // the same text counts as new when it is back
			missed(err)
		case strings.TrimSpace(text) != strings.TrimSpace(known):
			known = text
			changed(text)
		}
	}
}
