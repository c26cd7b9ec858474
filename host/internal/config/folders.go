package config

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Own are the folders in data_dir that the host manages and cleans up.
var Own = []string{"ledger", "plugins", "run"}

// folders reports paths that lie in each other: a person's files must never lie
// in a folder that the host manages.
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
	named := map[*hcl.Attribute]string{}
	adminFiles(named, f.Admin, cfg.Admin)
	for i, s := range f.Sessions {
		namedFiles(named, s, cfg.Sessions[i])
	}
	if f.Ledger != nil && f.Ledger.KeyFile != nil {
		named[f.Ledger.KeyFile] = cfg.Ledger.KeyFile
	}
	for _, name := range Own { // each of them may be a link to another place
		own := filepath.Join(data, name)
		if !within(data, cfg.PluginsDir) && (within(own, cfg.PluginsDir) || within(cfg.PluginsDir, own)) {
			c.problem(at, "plugins.dir (%s) and the host's own folder %s are one inside the other: give the plugins another folder", cfg.PluginsDir, own)
		}
		if within(own, c.file()) {
			c.problem(c.placeOf(f.DataDir, dir), "this file lies in %s, which is the host's own folder: move it out, or change data_dir", own)
		}
		for a, file := range named {
			if within(own, file) {
				c.bad(a, "%s lies in the host's own folder: move the file; %s itself is a good place", file, data)
			}
		}
		for _, l := range listeners(f, cfg) {
			if path, unix := strings.CutPrefix(l.address, "unix:"); unix && within(own, path) {
				c.bad(l.at, "%s lies in the host's own folder: choose another path, such as %s", path, filepath.Join(data, filepath.Base(path)))
			}
		}
	}
}

// namedFiles adds the keys that name a session's files, each with its path.
func namedFiles(files map[*hcl.Attribute]string, b fileSession, s Session) {
	if b.Gateway != nil {
		gatewayFiles(files, *b.Gateway, *s.Gateway)
	}
	if b.CCS != nil && b.CCS.TLS != nil && b.CCS.TLS.CAFile != nil {
		files[b.CCS.TLS.CAFile] = s.CCS.TLS.CAFile
	}
	if b.FCMv1 != nil && b.FCMv1.CAFile != nil {
		files[b.FCMv1.CAFile] = s.FCMv1.CAFile
	}
}

// adminFiles adds the keys that name files of the admin block.
func adminFiles(files map[*hcl.Attribute]string, b *fileAdmin, a Admin) {
	if b == nil || b.TLS == nil {
		return
	}
	cert := b.TLS.certificate()
	certificateFiles(files, &cert, a.CertFile, a.KeyFile)
	if b.TLS.ClientCAFile != nil {
		files[b.TLS.ClientCAFile] = a.ClientCAFile
	}
}

// placeOf is the place of the first attribute that exists, or the file's beginning.
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

// within reports whether path is folder or lies in it, when links are followed.
// Neither needs to exist yet. It also finds the folder through a bind mount or
// another spelling.
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

// maxLinks is how many links in a row, to targets that don't exist, are followed.
const maxLinks = 40

// real follows the links of an absolute path as far as it exists. The rest stays
// as it is.
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
