package artefact

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	encoding "encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"balhost/host/internal/plain"
)

// loaderLack looks for the loader that a dynamic program names.
func loaderLack(f *elf.File) string {
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > 4096 {
			continue
		}
		name := make([]byte, p.Filesz)
		if _, err := p.ReadAt(name, 0); err != nil {
			return ""
		}
		loader := string(bytes.TrimRight(name, "\x00"))
		if _, err := os.Stat(loader); !errors.Is(err, fs.ErrNotExist) {
			return ""
		}
		library := "for this system's C library"
		if strings.Contains(loader, "musl") {
			library = "for this system's C library instead of musl, Alpine's"
		} else if strings.Contains(loader, "ld-linux") {
			library = "for this system's C library instead of glibc"
		}
		return fmt.Sprintf("needs the loader %s, which this system hasn't got: build it without one (CGO_ENABLED=0 if it is Go), or %s", loader, library)
	}
	return ""
}

// machines are the processors that ELF files are for, by GOARCH.
var machines = map[string]elf.Machine{
	"386": elf.EM_386, "amd64": elf.EM_X86_64, "arm": elf.EM_ARM, "arm64": elf.EM_AARCH64, "loong64": elf.EM_LOONGARCH,
	"ppc64": elf.EM_PPC64, "ppc64le": elf.EM_PPC64, "riscv64": elf.EM_RISCV, "s390x": elf.EM_S390,
}

func elfFlaw(r io.ReaderAt, size int64) string {
	if end := tablesEnd(r); end > uint64(size) {
		return cutOff(size, end)
	}
	f, err := elf.NewFile(r)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "is cut off: it ends before what its header tells of: copy it again"
	} else if err != nil {
		return "is a program whose header is broken or cut off (" + plain.Line(err.Error(), 100) + "): copy it again"
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
		return fmt.Sprintf("is no program but an object file (%s): link it", f.Type)
	case f.Entry == 0:
		return "is a library, no program: with Go, build it without -buildmode"
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
		return cutOff(size, end)
	}
	return ""
}

func cutOff(size int64, end uint64) string {
	return fmt.Sprintf("is cut off: it has %d bytes, its header tells of %d: copy it again", size, end)
}

// tablesEnd is where the tables that an ELF header tells of end; 0 when it can't
// be read. Spec: elf(5), Ehdr.
func tablesEnd(r io.ReaderAt) uint64 {
	head := make([]byte, 64)
	native := elf.ELFDATA2LSB
	if encoding.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		native = elf.ELFDATA2MSB
	}
	if _, err := r.ReadAt(head, 0); err != nil || elf.Data(head[elf.EI_DATA]) != native {
		return 0
	}
	order := encoding.NativeEndian
	half := func(at int) uint64 { return uint64(order.Uint16(head[at:])) }
	if elf.Class(head[elf.EI_CLASS]) == elf.ELFCLASS32 {
		return max(uint64(order.Uint32(head[28:]))+half(42)*half(44), uint64(order.Uint32(head[32:]))+half(46)*half(48))
	}
	return max(order.Uint64(head[32:])+half(54)*half(56), order.Uint64(head[40:])+half(58)*half(60))
}

// isMachO reports whether a file begins as macOS's programs do, for one processor or
// for several. The latter begin as Java's classes do; but a class has its version, a
// larger number, where the program has how many processors it is for.
func isMachO(head []byte) bool {
	if bytes.HasPrefix(head, []byte("\xca\xfe\xba\xbe")) {
		return len(head) >= 8 && encoding.BigEndian.Uint32(head[4:]) < 20
	}
	for _, magic := range []string{"\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return false
}

func machoFlaw(r io.ReaderAt) string {
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
		return "is a program whose header is broken or cut off (" + plain.Line(err.Error(), 100) + "): copy it again"
	}
	for _, cpu := range has {
		if cpu == want || cpu == macho.CpuAmd64 { // which Rosetta runs
			return ""
		}
	}
	return fmt.Sprintf("is a program for another processor (%v): %s", has, buildFor())
}
