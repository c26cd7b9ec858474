package fcmv1

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long a key file must have been left alone until it is read: it may be
	// written in pieces.
	settle = 200 * time.Millisecond
	// rescan is how often it is read anyway: links may lead to other folders, and some
	// file systems tell nothing.
	rescan = time.Minute
)

// watchFile calls changed with the text of a file when that is another one than known,
// until ctx ends. It watches the folder, because files are replaced by renaming, and
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
	for {
		select {
		case <-notify.Events:
			timer.Reset(settle)
			continue
		case <-notify.Errors:
			timer.Reset(settle)
			continue
		case <-timer.C:
			timer.Reset(rescan)
		case <-ctx.Done():
			return
		}
		text, err := readFile(path)
		switch {
		case err != nil:
			missed(err)
		case strings.TrimSpace(text) != strings.TrimSpace(known):
			known = text
			changed(text)
		}
	}
}

// readFile reads a file of bounded size.
func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxBody+1))
	if err == nil && len(text) > maxBody {
		err = fmt.Errorf("%s has more than %d bytes, so it is no key file", path, maxBody)
	}
	return string(text), err
}
