package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"

	"balhost/host/internal/admin"
)

//go:embed files/*.js files/*.css files/*.svg
var content embed.FS

// files are what the pages load besides HTML, by name.
type files map[string]file

type file struct {
	content []byte
	version string // changes with the content, so a browser may keep it for ever
	kind    string
}

var kinds = map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}

func embedded() files {
	all := files{}
	entries, err := content.ReadDir("files")
	if err != nil {
		panic(err) // the folder is in the binary
	}
	for _, e := range entries {
		text, err := content.ReadFile("files/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(text)
		all[e.Name()] = file{content: text, version: hex.EncodeToString(sum[:6]), kind: kinds[path.Ext(e.Name())]}
	}
	return all
}

// path is where a page loads a file from.
func (f files) path(name string) string { return "/files/" + f[name].version + "/" + name }

// serve answers with a file. Under its version the browser keeps it; "now" stands for any
// version, for the login. One of an older host is not found.
func (f files) serve(w http.ResponseWriter, r *http.Request) {
	file, ok := f[r.PathValue("name")]
	version := r.PathValue("version")
	if !ok || version != file.version && version != "now" {
		http.NotFound(w, r)
		return
	}
	if version == file.version {
		w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	}
	w.Header().Set("Content-Type", file.kind)
	admin.WriteWithin(w)
	w.Write(file.content)
}
