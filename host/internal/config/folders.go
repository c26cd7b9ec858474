package config

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Own are the folders in data_dir that the host keeps, and tidies up, by itself.
var Own = []string{"ledger", "plugins", "run"}

// folders refuses paths that lead into each other: what a person puts into a
// folder must be nothing that the host takes for its own.
func (c *checker) folders(f file, cfg Config) {
	data, dir := cfg.DataDir, orEmpty(f.Plugins).Dir
	at := c.placeOf(dir, f.DataDir)
	switch {
	case data == "" || cfg.PluginsDir == "": // reported
		return
	case within(data, cfg.PluginsDir) && within(cfg.PluginsDir, data):
		c.problem(at, "plugins.dir is data_dir (%s): the host keeps its own files there; give the plugins a folder beside it", data)
	case within(data, cfg.PluginsDir):
		c.problem(at, "plugins.dir (%s) lies in data_dir (%s), where the host keeps its own files: give the plugins a folder beside it", cfg.PluginsDir, data)
	case within(cfg.PluginsDir, data):
		c.problem(at, "data_dir (%s) lies in plugins.dir (%s): give the host's data a folder beside it", data, cfg.PluginsDir)
	}
	for _, name := range Own { // a link can lead each of them elsewhere
		own := filepath.Join(data, name)
		if !within(data, cfg.PluginsDir) && (within(own, cfg.PluginsDir) || within(cfg.PluginsDir, own)) {
			c.problem(at, "plugins.dir (%s) and the host's own folder %s lead into each other: give the plugins another one", cfg.PluginsDir, own)
		}
		if within(own, c.file()) {
			c.problem(c.placeOf(f.DataDir, dir), "this file lies in %s, a folder of the host's own: move it out, or change data_dir", own)
		}
		for i, s := range f.Sessions {
			if s.TLS != nil && s.TLS.CAFile != nil && within(own, cfg.Sessions[i].TLS.CAFile) {
				c.bad(s.TLS.CAFile, "%s lies in a folder of the host's own: move the file, into %s itself if you like", cfg.Sessions[i].TLS.CAFile, data)
			}
		}
		if path, unix := strings.CutPrefix(cfg.Admin.Listen, "unix:"); unix && within(own, path) {
			c.bad(f.Admin.Listen, "%s lies in a folder of the host's own: choose another, %s will do", path, filepath.Join(data, "admin.sock"))
		}
	}
}

// placeOf is where the first of the attributes that there is stands, or the file's beginning.
func (c *checker) placeOf(attributes ...*hcl.Attribute) hcl.Range {
	for _, a := range attributes {
		if a != nil {
			return a.Range
		}
	}
	return hcl.Range{Filename: c.name, Start: hcl.InitialPos, End: hcl.InitialPos}
}

// file is the path of the file that is being checked.
func (c *checker) file() string { return filepath.Join(c.dir, filepath.Base(c.name)) }

// within reports whether path is folder or lies in it, after links, whether
// they are there yet or not. A bind mount or another spelling of the same
// folder counts, too.
func within(folder, path string) bool {
	if path == "" {
		return false
	}
	folder, path = real(folder, maxLinks), real(path, maxLinks)
	info, err := os.Stat(folder)
	for ; ; path = filepath.Dir(path) {
		if path == folder {
			return true
		}
		if err == nil {
			if here, err := os.Stat(path); err == nil && os.SameFile(info, here) {
				return true
			}
		}
		if path == filepath.Dir(path) {
			return false
		}
	}
}

// maxLinks is how many links to what isn't there are followed, one after the other.
const maxLinks = 40

// real is an absolute path after links, as far as it exists; the rest is as it
// will be when it is made.
func real(path string, links int) string {
	whole, err := filepath.EvalSymlinks(path)
	if err == nil || path == filepath.Dir(path) {
		return cmp.Or(whole, path)
	}
	if to, err := os.Readlink(path); err == nil && links > 0 {
		if !filepath.IsAbs(to) {
			to = filepath.Join(real(filepath.Dir(path), links-1), to)
		}
		return real(filepath.Clean(to), links-1)
	}
	return filepath.Join(real(filepath.Dir(path), links), filepath.Base(path))
}
