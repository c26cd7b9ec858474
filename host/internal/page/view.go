package page

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/plain"
)

//go:embed templates/*.html
var sources embed.FS

// views are the templates: one for each page, with the parts that all share.
type views map[string]*template.Template

func parsed(f files) views {
	shared := template.Must(template.New("").Funcs(functions(f)).ParseFS(sources, "templates/layout.html", "templates/part.html"))
	all := views{}
	entries, err := sources.ReadDir("templates")
	if err != nil {
		panic(err) // the folder is in the binary
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".html")
		if name == "layout" || name == "part" {
			continue
		}
		all[name] = template.Must(template.Must(shared.Clone()).ParseFS(sources, "templates/"+e.Name()))
	}
	return all
}

// view is what a template shows.
type view struct {
	Title  string
	Nav    string // which place in the navigation it is
	Host   admin.Status
	Series admin.Series
	Device bool // there are virtual devices
	Told   told // what the last order led to
	Page   any  // what this page has

	request *http.Request
}

// Now is the time by the host's clock, as all others are.
func (v view) Now() time.Time { return v.Host.Now }

// May reports whether the reader has a role, so that nobody is shown a button that is refused.
func (v view) May(name string) bool {
	role, err := admin.ParseRole(name)
	return err == nil && admin.RoleOf(v.request) >= role
}

// LoggedIn reports whether the reader can log out.
func (v view) LoggedIn() bool { return admin.LoggedIn(v.request) }

// Part is where a part of this page is fetched from again.
func (v view) Part(name string) string {
	query := v.request.URL.Query()
	query.Set("part", name)
	return v.request.URL.EscapedPath() + "?" + query.Encode()
}

// Here is where an order leads back to: this page.
func (v view) Here() string { return v.request.URL.RequestURI() }

// Query is a value of the page's query.
func (v view) Query(name string) string { return v.request.URL.Query().Get(name) }

// RawQuery is the page's query without the place in a list.
func (v view) RawQuery() template.URL {
	query := v.request.URL.Query()
	query.Del("after")
	query.Del("part")
	return template.URL(query.Encode()) // it is escaped
}

// Filtered reports whether the page's query asks for a part of what there is.
func (v view) Filtered() bool {
	for name, values := range v.request.URL.Query() {
		if name != "part" && name != "after" && values[0] != "" {
			return true
		}
	}
	return false
}

// With is this page with another value in its query.
func (v view) With(name, value string) string {
	query := v.request.URL.Query()
	query.Set(name, value)
	return v.request.URL.EscapedPath() + "?" + query.Encode()
}

// view begins what a page shows.
func (p *Pages) view(r *http.Request, title, nav string) view {
	return view{Title: title, Nav: nav, Host: p.status.now(), Series: p.series.now(), Device: p.device.there(), request: r}
}

// show writes a page, or the one part of it that the query asks for.
func (p *Pages) show(w http.ResponseWriter, name string, v view) { p.answer(w, http.StatusOK, name, v) }

func (p *Pages) answer(w http.ResponseWriter, code int, name string, v view) {
	block := "layout"
	if part := v.request.URL.Query().Get("part"); part != "" && p.views[name].Lookup("part "+part) != nil {
		block = "part " + part
	} else {
		v.Told = takeTold(w, v.request)
	}
	var html bytes.Buffer
	if err := p.views[name].ExecuteTemplate(&html, block, v); err != nil {
		http.Error(w, "the page can't be shown: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	admin.WriteWithin(w)
	w.WriteHeader(code)
	_, _ = plain.Writer{W: w}.Write(html.Bytes()) // a reader that has gone is no error; what can't be printed is shown escaped
}

// fail shows why there is no such page, or why it can't be shown now.
func (p *Pages) fail(w http.ResponseWriter, r *http.Request, err error) {
	v := p.view(r, "Not shown", "")
	v.Page = err.Error()
	p.answer(w, codeOf(r, err), "failed", v)
}

// codeOf is the status of an answer to r that failed.
func codeOf(r *http.Request, err error) int {
	switch {
	case errors.Is(err, entry.ErrUnknown):
		return http.StatusNotFound
	case errors.As(err, new(wrong)):
		return http.StatusBadRequest
	case errors.As(err, new(admin.Refusal)), errors.Is(err, entry.ErrUnusable):
		return http.StatusUnprocessableEntity
	case errors.Is(err, entry.ErrClosed), r.Context().Err() != nil:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// wrong is a question or an order that the reader can mend.
type wrong string

func (e wrong) Error() string { return string(e) }

// local is a path of this host that a form names to lead back to; another one is otherwise.
func local(path, otherwise string) string {
	u, err := url.Parse(path)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") || strings.Contains(path, `\`) {
		return otherwise
	}
	return u.RequestURI()
}
