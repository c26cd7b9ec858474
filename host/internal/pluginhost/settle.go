package pluginhost

import "time"

// file is what a look at one file in the plugins folder tells without reading
// it. Two looks that are equal saw the same content, as far as stat can tell.
type file struct {
	name     string // in the folder: the plugin's identity
	real     string // after symbolic links: what is read
	dev, ino uint64
	size     int64
	modified int64 // Unix nanoseconds
	changed  int64 // of the inode
	mode     uint32
	sum      string // sha256 that its content must have; "": any
}

// settler decides, from look to look, which files have been still for long
// enough to be taken, and which are gone for good. It reads no clock.
type settler struct {
	quiet    time.Duration // unchanged for so long: taken
	patience time.Duration // still changing after so long: said once
	absence  time.Duration // missing for so long: gone
	seen     map[string]*sighting
}

// sighting is the history of one name.
type sighting struct {
	file    file
	since   time.Time // file looks like this since
	began   time.Time // it is unsettled since
	missing time.Time // zero: it is there
	settled bool
	told    bool // that it is still being written
}

// changes are what one look brought.
type changes struct {
	found   []string // names seen for the first time
	settled []file   // to be taken
	busy    []string // still changing after patience
	gone    []string
	again   time.Duration // look again after this at the latest; 0: no need
}

func newSettler(l limits) *settler {
	return &settler{quiet: l.quiet, patience: l.patience, absence: l.absence, seen: map[string]*sighting{}}
}

// expect has names that were there before, and aren't now, be missing from now on.
func (s *settler) expect(now time.Time, names []string) {
	for _, name := range names {
		s.seen[name] = &sighting{missing: now, since: now, began: now}
	}
}

// spare has what could not be looked at be there as it was: a file system in
// trouble, or a folder on the way that is closed, removes no plugin.
func (s *settler) spare(now *found) {
	for name, unclear := range now.unclear {
		if g := s.seen[name]; unclear && g != nil && g.file.name != "" {
			now.present[name] = g.file
		}
	}
}

// look takes what is in the folder now.
func (s *settler) look(now time.Time, present map[string]file) (c changes) {
	for name, f := range present {
		g := s.seen[name]
		if g == nil {
			g = &sighting{file: f, since: now, began: now}
			s.seen[name] = g
			c.found = append(c.found, name)
		}
		g.missing = time.Time{}
		if g.file != f {
			if g.settled {
				g.began, g.told = now, false
			}
			g.file, g.since, g.settled = f, now, false
		}
		if g.settled {
			continue
		}
		if left := s.quiet - now.Sub(g.since); left > 0 {
			c.soon(left)
		} else {
			g.settled = true
			c.settled = append(c.settled, f)
			continue
		}
		if !g.told && now.Sub(g.began) >= s.patience {
			g.told = true
			c.busy = append(c.busy, name)
		}
	}
	for name, g := range s.seen {
		if _, ok := present[name]; ok {
			continue
		}
		if g.missing.IsZero() {
			g.missing = now
		}
		if left := s.absence - now.Sub(g.missing); left > 0 {
			c.soon(left)
			continue
		}
		delete(s.seen, name)
		c.gone = append(c.gone, name)
	}
	return c
}

func (c *changes) soon(d time.Duration) {
	if c.again == 0 || d < c.again {
		c.again = d
	}
}
