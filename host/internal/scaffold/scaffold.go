// Package scaffold writes the folder of a new plugin: a plugin of a few lines, a test of it,
// a README, and an executable file build that leaves the plugin at out/NAME, as balhost
// dev wants it. It builds, and its test passes, wherever the folder is. The templates of
// each language are in templates. Start at [Write].
package scaffold

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"balhost/sdk/message"
)

//go:embed all:templates
var templates embed.FS

// Languages are those that a plugin can be written in.
func Languages() []string {
	entries, err := templates.ReadDir("templates")
	if err != nil {
		panic(err) // they are embedded
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Plugin is what is to be written.
type Plugin struct {
	Name     string
	Language string
	Dir      string // the plugin's folder; it is made, or is empty
	Clone    string // of balhost, with the SDK in it; absolute
}

// Category is that of its messages.
func (p Plugin) Category() string { return "com.example." + p.Name }

// PackageName is the name as npm has it: in lower case, and beginning with a letter.
func (p Plugin) PackageName() string { return "plugin-" + strings.ToLower(p.Name) }

// Write writes the folder. What can't be is found before anything is written.
func Write(p Plugin) error {
	if err := p.check(); err != nil {
		return err
	}
	files, err := p.files()
	if err != nil {
		return err
	}
	if err := p.empty(); err != nil {
		return err
	}
	for path, text := range files {
		target := filepath.Join(p.Dir, path)
		mode := fs.FileMode(0o644)
		if bytes.HasPrefix(text, []byte("#!")) {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, text, mode); err != nil {
			return err
		}
	}
	if p.Language == "go" {
		return p.tidy()
	}
	return nil
}

// check says what is wrong with the order.
func (p Plugin) check() error {
	if err := message.CheckPluginName(p.Name); err != nil {
		return err
	}
	if !slices.Contains(Languages(), p.Language) {
		return fmt.Errorf("language %q: want %s", p.Language, strings.Join(Languages(), ", "))
	}
	sdk := filepath.Join(p.Clone, SDK(p.Language))
	if info, err := os.Stat(sdk); err != nil || !info.IsDir() {
		return fmt.Errorf("the clone %s has no SDK for %s (%s): update it", p.Clone, p.Language, sdk)
	}
	for _, tool := range needs[p.Language] {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not in PATH, and a plugin in %s needs it", tool, p.Language)
		}
	}
	return nil
}

// needs are the programs that build a plugin.
var needs = map[string][]string{"go": {"go"}, "python": {"python3"}, "node": {"node", "npm"}, "java": {"java", "mvn"}}

// SDK is where the SDK of a language is in a clone.
func SDK(language string) string {
	if language == "go" {
		return "sdk"
	}
	return filepath.Join("sdk", language)
}

// Test is the command that tests a plugin, in its folder.
func Test(language string) string {
	return map[string]string{
		"go": "go test ./...", "python": ".venv/bin/python -m pytest -q", "node": "npm test", "java": "mvn -q test",
	}[language]
}

// empty says whether the folder can be written: it is not there, or nothing is in it.
func (p Plugin) empty() error {
	entries, err := os.ReadDir(p.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s is not empty: give another name, or another place with --dir", p.Dir)
	}
	return nil
}

// files are the files of the folder, by their paths in it.
func (p Plugin) files() (map[string][]byte, error) {
	files := map[string][]byte{}
	root := "templates/" + p.Language
	err := fs.WalkDir(templates, root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		t, err := template.New(path).Option("missingkey=error").Funcs(functions).ParseFS(templates, path)
		if err != nil {
			return err
		}
		var text bytes.Buffer
		if err := t.ExecuteTemplate(&text, filepath.Base(path), p); err != nil {
			return err
		}
		name := strings.TrimSuffix(strings.TrimPrefix(path, root+"/"), ".tmpl")
		files[name] = text.Bytes()
		return nil
	})
	return files, err
}

// functions write a text as a language needs it.
var functions = template.FuncMap{
	"module": func(path string) string { // as go.mod has it
		if odd(path) {
			return strconv.Quote(path)
		}
		return path
	},
	"shell": Shell,
	"json": func(text string) (string, error) {
		out, err := json.Marshal(text)
		return string(out), err
	},
}

// Shell is a text as one word of a shell.
func Shell(text string) string {
	if odd(text) {
		return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
	}
	return text
}

// odd reports whether a text must be quoted.
func odd(text string) bool {
	return text == "" || strings.ContainsFunc(text, func(r rune) bool {
		return !strings.ContainsRune("/._-", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// tidy completes go.mod. The clone's sums are enough, so it asks no other place for them.
func (p Plugin) tidy() error {
	sums, err := os.ReadFile(filepath.Join(p.Clone, "go.sum"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(p.Dir, "go.sum"), sums, 0o644); err != nil {
		return err
	}
	cmd := exec.Command("go", "mod", "tidy")
	cmd.Dir = p.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("the plugin is in %s, but go mod tidy fails there: %w\n%s", p.Dir, err, bytes.TrimSpace(out))
	}
	return nil
}
