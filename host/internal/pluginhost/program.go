package pluginhost

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
)

// inspect says why a file can't be a program of this machine, as far as its
// header tells, without running it; "": it may be one.
func inspect(path string) string {
	f, info, err := openFile(path)
	if err != nil {
		return "can't be read: " + err.Error()
	}
	defer f.Close()
	head := make([]byte, 256) // of a script's first line the kernel reads no more
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "can't be read: " + err.Error()
	}
	switch head = head[:n]; {
	case n == 0:
		return "is empty: it is no program"
	case bytes.HasPrefix(head, []byte("#!")):
		return inspectScript(head)
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		return inspectELF(f, info.Size())
	case isMachO(head):
		return inspectMachO(f)
	case bytes.HasPrefix(head, []byte("MZ")):
		return "is a program for Windows: " + buildFor()
	}
	return "is neither a program nor a script that begins with #! and its interpreter"
}

// buildFor is the mend of a program for another machine.
func buildFor() string {
	return fmt.Sprintf("build it for this machine, with GOOS=%s GOARCH=%s if it is Go", runtime.GOOS, runtime.GOARCH)
}

func inspectScript(head []byte) string {
	line, _, _ := bytes.Cut(head[len("#!"):], []byte("\n"))
	words := strings.Fields(string(line))
	if len(words) == 0 {
		return "is a script that names no interpreter behind #!"
	}
	if _, err := exec.LookPath(words[0]); err != nil {
		return fmt.Sprintf("is a script for %s, which can't be run here: %v", excerpt(words[0]), err)
	}
	return ""
}

// machines are the processors that ELF files are for, by GOARCH.
var machines = map[string]elf.Machine{
	"386": elf.EM_386, "amd64": elf.EM_X86_64, "arm": elf.EM_ARM, "arm64": elf.EM_AARCH64, "loong64": elf.EM_LOONGARCH,
	"ppc64": elf.EM_PPC64, "ppc64le": elf.EM_PPC64, "riscv64": elf.EM_RISCV, "s390x": elf.EM_S390,
}

func inspectELF(r io.ReaderAt, size int64) string {
	f, err := elf.NewFile(r)
	if err != nil {
		return "is a program whose header is broken or cut off (" + clean(err.Error(), 100) + "): copy it again"
	}
	want, known := machines[runtime.GOARCH]
	switch {
	case runtime.GOOS == "darwin":
		return "is a program for Linux or another Unix: " + buildFor()
	case f.OSABI != elf.ELFOSABI_NONE && f.OSABI != elf.ELFOSABI_LINUX:
		return fmt.Sprintf("is a program for another system (%s): %s", f.OSABI, buildFor())
	case known && f.Machine != want && !(want == elf.EM_X86_64 && f.Machine == elf.EM_386):
		return fmt.Sprintf("is a program for another processor (%s): %s", f.Machine, buildFor())
	case f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN:
		return fmt.Sprintf("is no program but an object file (%s)", f.Type)
	}
	end := uint64(0)
	for _, p := range f.Progs {
		end = max(end, p.Off+p.Filesz)
	}
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOBITS {
			end = max(end, s.Offset+s.FileSize)
		}
	}
	if end > uint64(size) {
		return fmt.Sprintf("is cut off: it has %d bytes, its header tells of %d: copy it again", size, end)
	}
	return ""
}

// isMachO knows macOS's programs for one processor and for several.
func isMachO(head []byte) bool {
	for _, magic := range []string{"\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe", "\xca\xfe\xba\xbe"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return false
}

func inspectMachO(r io.ReaderAt) string {
	if runtime.GOOS != "darwin" {
		return "is a program for macOS: " + buildFor()
	}
	want := macho.CpuArm64
	if runtime.GOARCH == "amd64" {
		want = macho.CpuAmd64
	}
	var has []macho.Cpu
	if fat, err := macho.NewFatFile(r); err == nil {
		for _, a := range fat.Arches {
			has = append(has, a.Cpu)
		}
	} else if f, err := macho.NewFile(r); err == nil {
		has = append(has, f.Cpu)
	} else {
		return "is a program whose header is broken or cut off (" + clean(err.Error(), 100) + "): copy it again"
	}
	for _, cpu := range has {
		if cpu == want || cpu == macho.CpuAmd64 { // which Rosetta runs
			return ""
		}
	}
	return fmt.Sprintf("is a program for another processor (%v): %s", has, buildFor())
}
