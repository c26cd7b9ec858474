package pluginhost

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"balhost/host/internal/pluginhost/artefact"
)

// rescan has the folder looked at soon.
func (h *Host) rescan() {
	select {
	case h.hint <- struct{}{}:
	default: // there is one already
	}
}

// look looks at the folder, until ctx ends, and tells the supervisors, which it
// starts in their group.
func (h *Host) look(ctx context.Context, plugins *errgroup.Group) {
	defer close(h.looked)
	var boot sync.WaitGroup
	stability := artefact.Stability{Quiet: h.limits.quiet, Patience: h.limits.patience, Absence: h.limits.absence}
	complaint, booting, known := "", true, false
	for ctx.Err() == nil {
		seen, err := h.scan(ctx)
		again := h.limits.rescan
		if ctx.Err() != nil {
			break
		} else if err != nil {
			if complaint != err.Error() {
				complaint = err.Error()
				h.log.Warn("plugins folder can't be read: plugins stay as they are", "err", err)
			}
		} else {
			complaint = ""
			if !known {
				known = true
				stability.Expect(time.Now(), h.missing(seen))
			}
			stability.Spare(&seen)
			c := stability.Look(time.Now(), seen.Present)
			if booting {
				for _, name := range c.Found {
					h.supervise(ctx, name, nil, &boot, plugins)
				}
			}
			// After the boot, a file has a supervisor from when it is stable on: some
			// tools give their files another name for a moment.
			for _, f := range c.Stable {
				h.supervise(ctx, f.Name, &f, nil, plugins)
			}
			h.tell(c, len(seen.Present) == 0)
			again = cmp.Or(c.Again, again)
		}
		if booting {
			booting = false
			plugins.Go(func() error {
				h.endBoot(ctx, &boot)
				return nil
			})
		}
		pause(ctx, nil, 20*time.Millisecond, h.asking) // a hint for every event would be too many looks
		pause(ctx, h.hint, again, h.asking)
	}
}

// Alive returns when the loop that looks at the folder has answered: at once, unless
// it hangs. It doesn't hang when only the folder's file system doesn't answer.
func (h *Host) Alive() {
	select {
	case h.asking <- struct{}{}:
	case <-h.looked:
	}
}

// endBoot ends the boot when all plugins that were there have been described or have
// failed, or at its deadline: those that hang must not hold up the others.
func (h *Host) endBoot(ctx context.Context, boot *sync.WaitGroup) {
	all := make(chan struct{})
	go func() { //house:go endBoot waits for it
		boot.Wait() // every supervisor's end is one, too
		close(all)
	}()
	defer func() { <-all }()
	select {
	case <-all:
	case <-time.After(h.limits.boot):
		h.log.Warn("some plugins have not said yet what they are: the others' events don't wait for them any longer", "waited", h.limits.boot)
	case <-ctx.Done():
	}
	h.mu.Lock()
	h.booting = nil
	h.mu.Unlock()
	if ctx.Err() == nil {
		h.o.Dispatcher.Booted()
	}
}

// Awaited are the plugins that the boot waits for, by name: until each has said
// what it is or has failed, BootTime at most, no plugin gets events. After the boot
// there are none.
func (h *Host) Awaited() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.booting))
}

// scan looks at the folder, for as long as its file system doesn't answer.
func (h *Host) scan(ctx context.Context) (artefact.Found, error) {
	var all artefact.Found
	seen := make(chan error, 1)
	h.aside.Go(func() {
		var err error
		all, err = artefact.Scan(h.o.Dir, h.o.Bounds)
		seen <- err
	})
	late := time.After(h.limits.patience)
	for {
		select {
		case err := <-seen:
			if err == nil {
				h.ignore(all.None)
				h.watch.Also(all.Folders)
			}
			return all, err
		case <-h.asking:
		case <-ctx.Done():
			return artefact.Found{}, context.Cause(ctx) // the goroutine may still write all
		case <-late:
			h.log.Error("the file system of the plugins folder does not answer: its changes are not seen until it does", "took", h.limits.patience)
		}
	}
}

// missing are the plugins of which there are copies and that aren't in the folder.
func (h *Host) missing(seen artefact.Found) []string {
	names, err := artefact.Stores(h.o.DataDir)
	if err != nil {
		h.log.Warn("copies of removed plugins stay", "err", err)
	}
	return slices.DeleteFunc(names, func(name string) bool {
		_, there := seen.Present[name]
		return there || seen.Unclear[name]
	})
}

// supervise offers a file, or nothing yet, to the supervisor of its name, which it
// starts if there is none. boot waits for the supervisor; nil: the boot is over.
func (h *Host) supervise(ctx context.Context, name string, f *artefact.File, boot *sync.WaitGroup, plugins *errgroup.Group) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.plugins[name]
	if s == nil {
		first := func() {}
		if boot != nil {
			boot.Add(1)
			h.booting[name] = true
			first = func() {
				h.mu.Lock()
				delete(h.booting, name)
				h.mu.Unlock()
				boot.Done()
			}
		}
		s = newSupervisor(h, name, h.o.Plugin(name).filled(), first)
		h.plugins[name] = s
		plugins.Go(func() error { return s.run(ctx) })
	}
	if f != nil {
		s.offer(f)
	}
}

// forget removes the supervisor of a plugin that has left, unless there is news for it.
// A file that comes under its name later gets a new one.
func (h *Host) forget(s *supervisor) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !s.box.empty() {
		return false
	}
	delete(h.plugins, s.name)
	delete(h.declined, s.name)
	return true
}

// tell passes on what else a look brought. An empty folder removes no plugin that was
// there before this host's start: perhaps the folder is not mounted yet.
func (h *Host) tell(c artefact.Changes, empty bool) {
	var left []string
	defer func() {
		for _, name := range left { // without mu, since the disk may not answer; no supervisor of these can come up, since only look starts them, and it waits here
			if err := artefact.NewStore(h.o.DataDir, name).Clear(); err != nil {
				h.log.Warn("copies of a removed plugin stay", "plugin", name, "err", err)
			}
		}
	}()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range c.Gone {
		if s := h.plugins[name]; s != nil {
			s.offer(nil)
		} else if !empty && !h.o.Plugin(name).KeepRemoved {
			left = append(left, name)
		}
	}
	for _, name := range c.Busy {
		if s := h.plugins[name]; s != nil {
			s.busy()
		} else {
			h.log.Warn("plugin's file is still being written: not taken yet", "plugin", name)
		}
	}
}

// pause waits for a hint, the time, or the end of ctx, and takes what is asked.
func pause(ctx context.Context, hint <-chan struct{}, d time.Duration, asking <-chan struct{}) {
	over := time.After(d)
	for {
		select {
		case <-asking:
		case <-ctx.Done():
			return
		case <-hint:
			return
		case <-over:
			return
		}
	}
}

// ignore notes what lies in the folder by a plugin's name and is none, and says so once.
func (h *Host) ignore(none map[string]string) {
	h.mu.Lock()
	before := h.ignored
	h.ignored = none
	h.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(none)) {
		if before[name] != none[name] {
			h.log.Info("file in the plugins folder is no plugin", "plugin", name, "err", none[name])
		}
	}
}

// complain notes why a plugin's file is not taken ("": it is), and reports whether to
// log it. A reason that other plugins have too, such as their folder's mode, is logged
// once.
func (h *Host) complain(name, reason string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.declined, name)
	if reason == "" {
		return false
	}
	said := slices.Contains(slices.Collect(maps.Values(h.declined)), reason)
	h.declined[name] = reason
	return !said
}
