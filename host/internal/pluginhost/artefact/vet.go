package artefact

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// vet says why a file may not be run as a plugin, with the mend. "": it may. Whoever can
// change the file, or put another in its place, can run programs as the host. So nobody
// but root and the host's user may be able to.
func vet(f File, dir string) string {
	info, err := os.Stat(f.real)
	if err != nil {
		return "can't be looked at: " + err.Error()
	}
	what := "its file"
	if f.folder {
		what = "its folder"
	}
	if f.folder && !info.IsDir() { // it was
		return "its folder " + f.real + " is no folder any more: put a plugin there"
	} else if !f.folder && !info.Mode().IsRegular() {
		return "its file " + f.real + " is no regular file any more: put a program there"
	}
	if reason := trusted(what, f.real, info); reason != "" {
		return reason
	}
	if f.flaw != "" {
		return f.flaw
	}
	if f.folder {
		if reason := vetTree(f.real); reason != "" {
			return reason
		}
	}
	if unix.Access(f.real, unix.R_OK) != nil {
		return fmt.Sprintf("its file %s can't be read by user %d, the host's: chmod a+r %s", f.real, os.Geteuid(), f.real)
	}
	folder, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "its folder can't be looked at: " + err.Error()
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return "its folder can't be looked at: " + err.Error()
	}
	parents := []string{filepath.Dir(f.real)}
	if folder != parents[0] { // a link: both ways matter
		parents = append(parents, folder)
	}
	for _, path := range parents {
		for {
			info, err := os.Stat(path)
			if err != nil {
				return "its folder can't be looked at: " + err.Error()
			}
			if info.Mode()&fs.ModeSticky == 0 { // in such a folder nobody can replace another user's file
				if reason := trusted("the folder", path, info); reason != "" {
					return reason
				}
			}
			if path == filepath.Dir(path) {
				break
			}
			path = filepath.Dir(path)
		}
	}
	return ""
}

// trusted says who else could change path, and what to do; "": nobody.
func trusted(what, path string, info fs.FileInfo) string {
	st := info.Sys().(*syscall.Stat_t)
	uid, mode := int(st.Uid), info.Mode().Perm()
	switch {
	case uid != 0 && uid != os.Geteuid():
		return fmt.Sprintf("%s %s belongs to user %d, neither root nor the host's: chown %d %s", what, path, uid, os.Geteuid(), path)
	case mode&0o002 != 0:
		return fmt.Sprintf("%s %s can be changed by anybody (mode %04o): chmod go-w %s", what, path, mode, path)
	case mode&0o020 != 0 && !private(uid, int(st.Gid)):
		return fmt.Sprintf("%s %s can be changed by its group, %d (mode %04o): chmod g-w %s", what, path, st.Gid, mode, path)
	}
	return ""
}

// private reports whether a group is the user's own, with nobody else in it. Some
// systems give every user such a group, named as the user, and let it write new files
// (umask 002). That is safe.
func private(uid, gid int) bool {
	user, group := "", ""
	eachEntry("/etc/passwd", func(f []string) {
		if len(f) > 3 && f[2] == strconv.Itoa(uid) && f[3] == strconv.Itoa(gid) {
			user = f[0]
		} else if len(f) > 3 && f[3] == strconv.Itoa(gid) {
			group = "shared" // another user has it as the first group
		}
	})
	eachEntry("/etc/group", func(f []string) {
		if len(f) > 3 && f[2] == strconv.Itoa(gid) && group == "" && (f[3] == "" || f[3] == f[0]) {
			group = f[0]
		}
	})
	return user != "" && user == group
}

// eachEntry goes over a file of fields between colons. One that can't be read
// has none.
func eachEntry(path string, entry func(fields []string)) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		entry(strings.Split(lines.Text(), ":"))
	}
}

var hexSum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// sumOf reads NAME.sha256 in a plugins folder: the content that the file must
// have, in hex, as sha256sum writes it. "": there is no such file. With a file that
// can't be read as a sum, no content is allowed.
func sumOf(dir, name string) string {
	f, _, err := openFile(filepath.Join(dir, name+sumSuffix))
	if os.IsNotExist(err) {
		return ""
	} else if err != nil {
		return "unreadable"
	}
	defer f.Close()
	text := make([]byte, 4096)
	n, _ := f.Read(text) // nothing read is no sum
	fields := strings.Fields(string(text[:n]))
	if len(fields) == 0 || !hexSum.MatchString(strings.ToLower(fields[0])) {
		return "unreadable"
	}
	return strings.ToLower(fields[0])
}

const sumSuffix = ".sha256"

// CheckSum says why a content is not the one that was announced, or that the config
// allows ("": any); "": it is.
func CheckSum(f File, sha256, allowed string) string {
	switch {
	case allowed != "" && !strings.EqualFold(allowed, sha256):
		return fmt.Sprintf("its content has sha256 %s, but config.hcl allows only %s: change one of them", sha256, allowed)
	case f.sum == "unreadable":
		if f.folder {
			return fmt.Sprintf("%s%s holds no sha256: write the one there that balhost check shows, or remove it", f.Name, sumSuffix)
		}
		return fmt.Sprintf("%s%s holds no sha256: write it with sha256sum %s >%s%s, or remove it", f.Name, sumSuffix, f.Name, f.Name, sumSuffix)
	case f.sum != "" && f.sum != sha256:
		return fmt.Sprintf("its content has sha256 %s, but %s%s says %s: copy the file again, or mend that one", sha256, f.Name, sumSuffix, f.sum)
	}
	return ""
}
