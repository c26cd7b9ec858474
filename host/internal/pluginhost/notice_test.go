package pluginhost

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// However a new content gets there, it is taken; the way it got there is the
// name of the test.
func TestNoticing(t *testing.T) {
	sh := func(command string) func(*testing.T, *bench, string) {
		return func(t *testing.T, b *bench, source string) {
			// As in stage: no child of this process may hold the file open for writing.
			cmd := exec.Command("sh", "-ec", command)
			cmd.Env = append(os.Environ(), "SOURCE="+source, "DIR="+b.dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", command, err, out)
			}
		}
	}
	ways := map[string]func(t *testing.T, b *bench, source string){
		"cp over the running one": sh(`cp "$SOURCE" "$DIR/echo"`),
		"cp and mv":               sh(`cp "$SOURCE" "$DIR/.echo.1"; mv "$DIR/.echo.1" "$DIR/echo"`),
		"mv":                      sh(`mv "$SOURCE" "$DIR/echo"`),
		"tar":                     sh(`cd "$(dirname "$SOURCE")"; mv "$SOURCE" echo; tar cf a.tar echo; tar xf a.tar -C "$DIR"`),
		"chmod +x afterwards":     sh(`chmod -x "$DIR/echo"; cp "$SOURCE" "$DIR/echo"; chmod -x "$DIR/echo"; chmod +x "$DIR/echo"`),
		"rm and cp":               sh(`rm "$DIR/echo"; cp "$SOURCE" "$DIR/echo"`),
		"link":                    sh(`ln -sfn "$SOURCE" "$DIR/echo"`),
		"install":                 sh(`install -m 755 "$SOURCE" "$DIR/echo"`),
		"rsync":                   sh(`rsync -a "$SOURCE" "$DIR/echo"`),
		"rsync in place":          sh(`rsync -a --inplace "$SOURCE" "$DIR/echo"`),
		"editor":                  sh(`echo x >"$DIR/.echo.swp"; chmod +x "$DIR/.echo.swp"; mv "$DIR/echo" "$DIR/echo~"; cp "$SOURCE" "$DIR/echo"`),
		"slowly, in pieces": func(t *testing.T, b *bench, source string) {
			content, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			syscall.ForkLock.RLock()
			defer syscall.ForkLock.RUnlock()
			f, err := os.OpenFile(filepath.Join(b.dir, "echo"), os.O_WRONLY|os.O_TRUNC, 0)
			if err != nil {
				t.Fatal(err)
			}
			for piece := range bytes.SplitSeq(content, []byte("\n")) {
				if _, err := f.Write(append(piece, '\n')); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Truncate(int64(len(content))); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		},
		"folder replaced": func(t *testing.T, b *bench, source string) {
			next := filepath.Join(filepath.Dir(source), "next")
			if err := os.Mkdir(next, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(source, filepath.Join(next, "echo")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(b.dir, b.dir+".old"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(next, b.dir); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath("rsync"); strings.HasPrefix(name, "rsync") && err != nil {
				t.Skip("no rsync here")
			}
			b := newBench(t)
			first := b.proven()
			b.put(".new", "another")
			source := filepath.Join(t.TempDir(), "source")
			if err := os.Rename(filepath.Join(b.dir, ".new"), source); err != nil {
				t.Fatal(err)
			}
			way(t, b, source)
			b.event("gone echo", 1)
			if s := b.state("echo", Running); s.SHA256 == first.SHA256 || s.Restarts != 0 {
				t.Errorf("status %+v", s)
			}
			for _, s := range b.host.Status() {
				if s.Name != "echo" {
					t.Errorf("%s was taken for a plugin", s.Name)
				}
			}
		})
	}
}

// A compiler writes beside its target and renames; go build does so with a name
// that is ignored.
func TestNoticingGoBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles")
	}
	b := newBench(t)
	b.proven()
	source := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { println(\"no plugin\") }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", filepath.Join(b.dir, "echo"), source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b.poll("its content to be refused", func() bool {
		s := b.status("echo")
		return s.Refusal != nil && strings.HasSuffix(s.Refusal.Reason, "its last words: no plugin")
	})
}

// Kubernetes: the plugin is a link to ..data/echo, ..data one to a folder that
// is switched; nothing happens to the plugin's own link.
func TestNoticingKubernetes(t *testing.T) {
	b := newBench(t)
	for version, tail := range map[string]string{"..1": "", "..2": "another"} {
		b.put("echo", tail)
		if err := os.Mkdir(filepath.Join(b.dir, version), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(b.dir, "echo"), filepath.Join(b.dir, version, "echo")); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to string) {
		if err := os.Symlink(to, filepath.Join(b.dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(b.dir, "..tmp"), filepath.Join(b.dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	link("..1")
	if err := os.Symlink("..data/echo", filepath.Join(b.dir, "echo")); err != nil {
		t.Fatal(err)
	}
	b.host.limits.rescan = patience // the event must do
	b.run()
	b.event("said echo: run", 1)
	link("..2")
	b.event("said echo: run", 2)
}
