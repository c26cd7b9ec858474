package mend

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The test binary also stands for a host that runs as another user.
func TestMain(m *testing.M) {
	if dir := os.Getenv("MEND_TEST_DIR"); dir != "" {
		_, err := os.OpenFile(filepath.Join(dir, "ledger", "LOCK"), os.O_RDWR, 0)
		_, made := os.Create(filepath.Join(dir, "run", "x"))
		fmt.Printf("%v\n%v\n%v\n", With(fmt.Errorf("open ledger: %w", err)), With(made), Access(dir, "ledger", "plugins"))
		return
	}
	os.Exit(m.Run())
}

// The host was started as root once, and now as its user. The error names the file, its
// owner and the command.
func TestStartedAsRootOnce(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to be another user")
	}
	root, err := os.MkdirTemp("/tmp", "mend") // only root can enter the parents of t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "data")
	for _, err := range []error{
		os.Chmod(root, 0o755), os.WriteFile(filepath.Join(root, "program"), program, 0o755),
		os.MkdirAll(filepath.Join(dir, "ledger"), 0o700), os.MkdirAll(filepath.Join(dir, "run"), 0o700), os.MkdirAll(filepath.Join(dir, "plugins", "echo", "work", "x"), 0o700),
		os.WriteFile(filepath.Join(dir, "ledger", "LOCK"), nil, 0o600), os.WriteFile(filepath.Join(dir, "plugins", "echo", "record.json"), nil, 0o600),
		os.Chown(dir, 65534, 65534), os.Chown(filepath.Join(dir, "ledger"), 65534, 65534), os.Chown(filepath.Join(dir, "plugins"), 65534, 65534), os.Chown(filepath.Join(dir, "plugins", "echo"), 65534, 65534),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(root, "program"))
	cmd.Env = append(os.Environ(), "MEND_TEST_DIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Skipf("can't be another user here: %v: %s", err, out)
	}
	said := strings.Split(string(out), "\n")
	for i, want := range []string{
		"; DIR/ledger/LOCK belongs to user 0, and the host runs as user 65534: chown -R 65534:65534 DIR/ledger/LOCK",
		"; DIR/run belongs to user 0, and the host runs as user 65534: chown -R 65534:65534 DIR/run",
		"(the first of 3 such files; chown -R 65534:65534 DIR mends all)",
	} {
		if want = strings.ReplaceAll(want, "DIR", dir); !strings.HasSuffix(said[i], want) {
			t.Errorf("%q, want %q", said[i], want)
		}
	}
	if err := Access(dir, "ledger", "plugins"); err != nil {
		t.Errorf("for root: %v", err)
	}
}

// A process without free file descriptors says which limit to raise, whatever error
// the library returns.
func TestFewFiles(t *testing.T) {
	if got := With(errors.New("trouble")); got.Error() != "trouble" {
		t.Errorf("%v", got)
	}
	var was, low syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	low = was
	low.Cur = 3 // stdin, stdout and stderr
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	_, opened := os.Open("/")
	direct, indirect := With(opened), With(errors.New("trouble"))
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{direct, indirect} {
		if !strings.HasSuffix(err.Error(), "; this process has reached its limit of 3 open files: raise LimitNOFILE in its unit, or ulimit -n") {
			t.Errorf("%v", err)
		}
	}
	if !errors.Is(direct, syscall.EMFILE) {
		t.Error("the error itself is lost")
	}
}
