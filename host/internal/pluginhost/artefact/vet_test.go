package artefact

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Who else could put a program there is named, with the command that mends it.
func TestVet(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "plugins")
	elsewhere := filepath.Join(dir, "elsewhere")
	for _, d := range []string{folder, elsewhere} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(folder, "echo")
	writeExecutable(t, path, []byte("x"))
	writeExecutable(t, filepath.Join(elsewhere, "linked"), []byte("x"))
	if err := os.Symlink(filepath.Join(elsewhere, "linked"), filepath.Join(folder, "linked")); err != nil {
		t.Fatal(err)
	}
	look := func(name string) string {
		f, _, none := examine(folder, name, Usual)
		if none != "" {
			t.Fatal(none)
		}
		return vet(f, folder)
	}
	mode := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if reason := look("echo") + look("linked"); reason != "" {
		t.Fatalf("a good one: %s", reason)
	}
	mode(path, 0o777)
	if got, want := look("echo"), fmt.Sprintf("its file %s can be changed by anybody (mode 0777): chmod go-w %s", path, path); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	mode(path, 0o755)
	mode(folder, 0o757)
	if got, want := look("echo"), fmt.Sprintf("the folder %s can be changed by anybody (mode 0757): chmod go-w %s", folder, folder); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if look("linked") == "" {
		t.Error("the folder with the link matters, too")
	}
	mode(folder, 0o777|os.ModeSticky)
	if reason := look("echo"); reason != "" {
		t.Errorf("a sticky folder: %s", reason)
	}
	mode(elsewhere, 0o777)
	if look("linked") == "" {
		t.Error("the folder of the link's target matters")
	}
	mode(elsewhere, 0o755)
	if os.Getuid() != 0 {
		t.Skip("the rest needs root")
	}
	const nobody = 65534
	if err := os.Chown(path, nobody, -1); err != nil {
		t.Fatal(err)
	}
	if got, want := look("echo"), fmt.Sprintf("its file %s belongs to user 65534, neither root nor the host's: chown 0 %s", path, path); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := os.Chown(path, 0, nobody); err != nil {
		t.Fatal(err)
	}
	mode(path, 0o775)
	if got, want := look("echo"), fmt.Sprintf("its file %s can be changed by its group, 65534 (mode 0775): chmod g-w %s", path, path); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	// umask 002 where every user has a group of its own: harmless.
	if err := os.Chown(path, 0, 0); err != nil {
		t.Fatal(err)
	}
	if reason := look("echo"); private(0, 0) && reason != "" {
		t.Errorf("a private group: %s", reason)
	}
}

func TestCheckSum(t *testing.T) {
	dir := t.TempDir()
	sum := sha256.Sum256([]byte("x"))
	x := hex.EncodeToString(sum[:])
	y := strings.Repeat("ab", 32)
	for name, c := range map[string]struct {
		file, config, want string
	}{
		"none":          {},
		"right":         {file: x + "  echo\n"},
		"upper case":    {file: strings.ToUpper(x), config: strings.ToUpper(x)},
		"wrong":         {file: y, want: "its content has sha256 " + x + ", but echo.sha256 says " + y + ": copy the file again, or mend that one"},
		"empty":         {file: " ", want: "echo.sha256 holds no sha256: write it with sha256sum echo >echo.sha256, or remove it"},
		"wrong in both": {file: x, config: y, want: "its content has sha256 " + x + ", but config.hcl allows only " + y + ": change one of them"},
	} {
		path := filepath.Join(dir, "echo.sha256")
		_ = os.Remove(path)
		if c.file != "" {
			if err := os.WriteFile(path, []byte(c.file), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := CheckSum(File{Name: "echo", sum: sumOf(dir, "echo")}, x, c.config); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
