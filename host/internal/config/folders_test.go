package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Folders that lie in each other are an error, with the place: the host cleans up
// its own folders, so no file of a person may be in them. // P10
func TestFoldersApart(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"data/ledger", "other", "conf"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{
		"to-data": "data", "to-sub": "data/sub", "dangling": "data/not/there/yet", "round": "round",
		"data/run": "../other", "conf/up": "../data/ledger",
	} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "notes"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := func(file, data, plugins, ca, listen string) error {
		text := least
		if ca != "" {
			text = session(fmt.Sprintf("tls {\n    ca_file = %q\n  }", ca))
		}
		text = fmt.Sprintf("data_dir = %q\nplugins {\n  dir = %q\n}\n", data, plugins) + text
		if listen != "" {
			text += fmt.Sprintf("admin {\n  listen = %q\n}\n", listen)
		}
		_, err := Parse(filepath.Join(root, file), []byte(text), noEnv)
		return err
	}
	for name, c := range map[string]struct{ file, data, plugins, ca, listen, want string }{
		"apart":                      {data: "data", plugins: "plugins"},
		"not there yet":              {data: "new/data", plugins: "new/plugins"},
		"names that begin alike":     {data: "data", plugins: "data-plugins"},
		"ca_file as shipped":         {data: "data", plugins: "plugins", ca: "data/sim-ca.pem", listen: "unix:data/admin.sock"},
		"below":                      {data: "data", plugins: "data/plugins", want: ":3,3-23: plugins.dir (ROOT/data/plugins) lies in data_dir (ROOT/data)"},
		"below, with dots":           {data: "data", plugins: "other/../data/x", want: ":3,3-26: plugins.dir "},
		"below, neither there yet":   {data: "new", plugins: "new/a/b", want: " lies in data_dir"},
		"the same":                   {data: "data", plugins: "data/.", want: "plugins.dir is data_dir (ROOT/data)"},
		"the same by a link":         {data: "data", plugins: "to-data", want: "plugins.dir is data_dir"},
		"below by a link":            {data: "to-data", plugins: "data/x", want: " lies in data_dir"},
		"below by a link's target":   {data: "data", plugins: "to-sub/x", want: " lies in data_dir"},
		"below by a dangling link":   {data: "data", plugins: "dangling", want: " lies in data_dir"},
		"a link to itself":           {data: "data", plugins: "round"},
		"above":                      {data: "data", plugins: ".", want: "data_dir (ROOT/data) lies in plugins.dir (ROOT)"},
		"by a link of the host's":    {data: "data", plugins: "other", want: "plugins.dir (ROOT/other) and the host's own folder ROOT/data/run are one inside the other"},
		"this file":                  {file: "data/ledger/config.hcl", data: ".", plugins: "../../p"},
		"this file in the host's":    {file: "data/ledger/config.hcl", data: "..", plugins: "../../p", want: ":1,1-16: this file lies in ROOT/data/ledger, which is the host's own folder"},
		"this file, by a link":       {file: "conf/up/config.hcl", data: "../../data", plugins: "../../p", want: "this file lies in "},
		"ca_file in the host's":      {data: "data", plugins: "p", ca: "data/run/ca.pem", want: ":11,5-32: ca_file: ROOT/data/run/ca.pem lies in the host's own folder"},
		"ca_file where run leads to": {data: "data", plugins: "p", ca: "other/ca.pem", want: "ca_file: ROOT/other/ca.pem lies in the host's own folder"},
		"socket in the host's":       {data: "data", plugins: "p", listen: "unix:data/run/admin.sock", want: ":13,3-38: listen: ROOT/data/run/admin.sock lies in the host's own folder"},
		"socket in place of a file":  {data: "data", plugins: "p", listen: "unix:notes", want: "listen: ROOT/notes exists and is not a socket"},
		"socket without a path":      {data: "data", plugins: "p", listen: "unix:", want: `listen: a path is missing after "unix:"`},
		"socket with too long a one": {data: "data", plugins: "p", listen: "unix:/" + strings.Repeat("x", 99), want: "has 100 bytes, but the system allows 99"},
	} {
		if c.file == "" {
			c.file = "config.hcl"
		}
		err := config(c.file, c.data, c.plugins, c.ca, c.listen)
		want := strings.ReplaceAll(c.want, "ROOT", root)
		if err == nil && want != "" || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// The key is not in the folder that it encrypts, which may be moved away or removed. Its path starts
// at the file's folder, and without one nothing is encrypted.
func TestKeyFile(t *testing.T) {
	root := t.TempDir()
	parse := func(ledger string) (Config, error) {
		return Parse(filepath.Join(root, "config.hcl"), []byte(least+ledger), noEnv)
	}
	for ledger, want := range map[string]string{
		"": "", "ledger {\n}\n": "", "ledger {\n  encryption_key_file = \"\"\n}\n": "",
		"ledger {\n  encryption_key_file = \"keys/a.key\"\n}\n":  filepath.Join(root, "keys/a.key"),
		"ledger {\n  encryption_key_file = \"/keys/a.key\"\n}\n": "/keys/a.key",
		"ledger {\n  encryption_key_file = \"data/a.key\"\n}\n":  filepath.Join(root, "data/a.key"),
	} {
		if cfg, err := parse(ledger); err != nil || cfg.Ledger.KeyFile != want {
			t.Errorf("%q: %q, %v", ledger, cfg.Ledger.KeyFile, err)
		}
	}
	if _, err := parse("ledger {\n  encryption_key_file = \"data/ledger/a.key\"\n}\n"); err == nil || !strings.Contains(err.Error(), "encryption_key_file: "+root+"/data/ledger/a.key lies in the host's own folder") {
		t.Error(err)
	}
}
