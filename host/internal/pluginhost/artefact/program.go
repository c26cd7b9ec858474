package artefact

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"balhost/host/internal/plain"
)

// inspect says why a file can't be a program of this machine, as far as its
// header tells, without running it; "": it may be one.
func inspect(path string) string { return cmp.Or(Flaw(path), Lack(path)) }

// Flaw says what is wrong with a file itself: another one has to take its place.
func Flaw(path string) string {
	f, info, head, reason := begin(path)
	if reason != "" {
		return reason
	}
	defer f.Close()
	switch {
	case len(head) == 0:
		return "is empty: copy it again"
	case bytes.HasPrefix(head, []byte("#!")):
		return scriptFlaw(head, info.Size())
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		return elfFlaw(f, info.Size())
	case isMachO(head):
		return machoFlaw(f)
	}
	for _, kind := range strangers {
		if bytes.HasPrefix(head, []byte(kind.begins)) {
			return kind.reason
		}
	}
	return "is neither a program nor a script that begins with #! and its interpreter"
}

// begin opens a file and reads its first bytes, as many as the kernel reads of a
// script's first line.
func begin(path string) (f *os.File, info fs.FileInfo, head []byte, reason string) {
	f, info, err := openFile(path)
	if err != nil {
		return nil, nil, nil, "can't be read: " + err.Error()
	}
	head = make([]byte, 256)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		f.Close()
		return nil, nil, nil, "can't be read: " + err.Error()
	}
	return f, info, head[:n], ""
}

// strangers are what is put into the folder by mistake, by how it begins.
var strangers = []struct{ begins, reason string }{
	{"\xef\xbb\xbf#!", "begins with a byte order mark, which hides its #! from the system: save it without one"},
	{"MZ", "is a program for Windows: " + buildFor()},
	{"!<arch>\n", "is a library: with Go, build a package main"},
	{"\xca\xfe\xba\xbe", "is a Java class: drop in a script that runs it"},
	{"PK\x03\x04", "is an archive (zip or jar): unpack it, or drop in a script that runs it"},
	{"\x1f\x8b", "is compressed (gzip): unpack it"},
	{"\xfd7zXZ", "is compressed (xz): unpack it"},
	{"\x28\xb5\x2f\xfd", "is compressed (zstd): unpack it"},
	{"\x00asm", "is WebAssembly: drop in a script that runs it"},
	{"version https://git-lfs", "is only a pointer to a file in Git LFS: git lfs pull"},
	{"<", "is a page of HTML or XML, as a download that went wrong leaves it: copy the program again"},
}

// buildFor is the mend of a program for another machine.
func buildFor() string {
	return fmt.Sprintf("build it for this machine, with GOOS=%s GOARCH=%s if it is Go", runtime.GOOS, runtime.GOARCH)
}

// shebang splits a script's first line as the kernel does: the interpreter, and all
// that follows as one argument.
func shebang(head []byte) (interpreter, argument string) {
	line, _, _ := bytes.Cut(head[len("#!"):], []byte("\n"))
	interpreter, argument, _ = strings.Cut(strings.Trim(string(line), " \t"), " ")
	return interpreter, strings.Trim(argument, " \t")
}

func scriptFlaw(head []byte, size int64) string {
	line, _, ended := bytes.Cut(head, []byte("\n"))
	interpreter, argument := shebang(head)
	switch {
	case interpreter == "" || interpreter == "\r":
		return "is a script that names no interpreter behind #!"
	case !ended && size > int64(len(head)):
		return fmt.Sprintf("is a script whose first line is longer than the %d bytes that the system reads of it: make it shorter", len(head)-1)
	case bytes.HasSuffix(line, []byte("\r")):
		return `is a script whose lines end as on Windows (CR LF), so its interpreter isn't found: sed -i 's/\r$//' mends it`
	case !filepath.IsAbs(interpreter):
		return fmt.Sprintf("is a script for %s: its interpreter needs its whole path, or #!/usr/bin/env %s", plain.Excerpt(interpreter), plain.Line(interpreter, 80))
	case filepath.Base(interpreter) == "env" && strings.Contains(argument, " ") && !strings.HasPrefix(argument, "-"):
		return fmt.Sprintf("is a script for env, which takes all of %s for one program's name: write #!%s -S %s", plain.Excerpt(argument), interpreter, plain.Line(argument, 80))
	}
	return ""
}

// Lack says what a program needs and this system hasn't got; "": nothing, as far
// as its header tells. The file itself may be right.
func Lack(path string) string {
	f, _, head, reason := begin(path)
	if reason != "" {
		return ""
	}
	defer f.Close()
	if bytes.HasPrefix(head, []byte("#!")) {
		return scriptLack(shebang(head))
	}
	if program, err := elf.NewFile(f); err == nil {
		return loaderLack(program)
	}
	return ""
}

func scriptLack(interpreter, argument string) string {
	switch info, err := os.Stat(interpreter); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("is a script for %s, which isn't there: install it, or name one that is", plain.Excerpt(interpreter))
	case err != nil:
		return fmt.Sprintf("is a script for %s, which can't be looked at: %v", plain.Excerpt(interpreter), err)
	case info.IsDir():
		return fmt.Sprintf("is a script for %s, which is a folder: name a program", plain.Excerpt(interpreter))
	case unix.Access(interpreter, unix.X_OK) != nil:
		return fmt.Sprintf("is a script for %s, which user %d may not run: chmod +x it, or name another", plain.Excerpt(interpreter), os.Geteuid())
	}
	if program, _, _ := strings.Cut(argument, " "); filepath.Base(interpreter) == "env" && program != "" && program[0] != '-' && !strings.Contains(argument, "=") {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Sprintf("is a script for %s, which isn't in the host's PATH (%s): install it, or write its whole path behind #!", plain.Excerpt(program), os.Getenv("PATH"))
		}
	}
	return ""
}
