package artefact

import (
	"path/filepath"
	"time"
)

// File is what stat tells of one file in the plugins folder, or of a folder with all its
// entries, of which size is the sum. Equal Files have the same
// content, as far as stat can tell.
type File struct {
	Name     string // in the folder: the plugin's identity
	real     string // after symbolic links: what is read
	dev, ino uint64
	size     int64
	modified int64 // Unix nanoseconds
	changed  int64 // of the inode
	mode     uint32
	sum      string // sha256 that its content must have; "": any
	flaw     string // why it can't be staged; "": nothing

	// What follows is of a folder.
	folder  bool
	tree    string // a hash of what stat tells of its entries
	entries int
}

// program is what is started.
func (f File) program() string {
	if f.folder {
		return filepath.Join(f.real, ProgramName)
	}
	return f.real
}

// Stability decides, from look to look, which files have been still for long
// enough to be staged, and which are gone for good. It reads no clock.
type Stability struct {
	Quiet    time.Duration // a file that is unchanged for so long is stable; a folder, for five times as long
	Patience time.Duration // still changing after so long: told once
	Absence  time.Duration // missing for so long: gone
	seen     map[string]*sighting
}

// sighting is the history of one name.
type sighting struct {
	file    File
	since   time.Time // file looks like this since
	began   time.Time // it is not stable since
	missing time.Time // zero: it is there
	stable  bool
	told    bool // that it is still being written
}

// Changes are what one look brought.
type Changes struct {
	Found  []string // names seen for the first time
	Stable []File   // to be staged
	Busy   []string // still changing after Patience
	Gone   []string
	Again  time.Duration // look again after this at the latest; 0: no need
}

// Expect is the first call, if it is made: names that were there before,
// and aren't now, are missing from now on.
func (s *Stability) Expect(now time.Time, names []string) {
	s.seen = map[string]*sighting{}
	for _, name := range names {
		s.seen[name] = &sighting{missing: now, since: now, began: now}
	}
}

// Spare adds the files that could not be looked at, as they were before. A file system
// in trouble, or a folder that may not be entered, removes no plugin.
func (s *Stability) Spare(now *Found) {
	for name, unclear := range now.Unclear {
		if g := s.seen[name]; unclear && g != nil && g.file.Name != "" {
			now.Present[name] = g.file
		}
	}
}

// Look compares what is in the folder now with what was there before.
func (s *Stability) Look(now time.Time, present map[string]File) (c Changes) {
	if s.seen == nil {
		s.seen = map[string]*sighting{}
	}
	for name, f := range present {
		g := s.seen[name]
		if g == nil {
			g = &sighting{file: f, since: now, began: now}
			s.seen[name] = g
			c.Found = append(c.Found, name)
		}
		g.missing = time.Time{}
		if g.file != f {
			if g.stable {
				g.began, g.told = now, false
			}
			g.file, g.since, g.stable = f, now, false
		}
		if g.stable {
			continue
		}
		quiet := s.Quiet
		if f.folder { // a copy of many files pauses now and then
			quiet *= 5
		}
		if left := quiet - now.Sub(g.since); left > 0 {
			c.soon(left)
		} else {
			g.stable = true
			c.Stable = append(c.Stable, f)
			continue
		}
		if !g.told && now.Sub(g.began) >= s.Patience {
			g.told = true
			c.Busy = append(c.Busy, name)
		}
	}
	for name, g := range s.seen {
		if _, ok := present[name]; ok {
			continue
		}
		if g.missing.IsZero() {
			g.missing = now
		}
		if left := s.Absence - now.Sub(g.missing); left > 0 {
			c.soon(left)
			continue
		}
		delete(s.seen, name)
		c.Gone = append(c.Gone, name)
	}
	return c
}

func (c *Changes) soon(d time.Duration) {
	if c.Again == 0 || d < c.Again {
		c.Again = d
	}
}
