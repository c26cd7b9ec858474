package admin

import (
	_ "embed"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// pages are the paths for people in a browser. They have roles as the API has, and are not
// in /openapi.json. What is refused there is shown as a page that asks for a token.
func (a api) pages() []route {
	all := []route{
		page("GET /login", Anyone, "Asks for a token.", a.loginPage).anyQuery(),
		page("POST /login", Anyone, "Logs the browser in.", a.logIn).byPrograms(),
		page("POST /logout", Anyone, "Logs the browser out.", a.logOut),
	}
	for _, p := range a.site {
		all = append(all, a.page(p))
	}
	return all
}

// page is a route for people.
func page(pattern string, role Role, does string, handler http.HandlerFunc) route {
	r := on(pattern, role, does, handler)
	r.page = true
	return r
}

//go:embed login.html
var loginText string

var loginTemplates = template.Must(template.New("").Parse(loginText))

// asked is what the login page shows.
type asked struct {
	Wrong string // why it asks
	To    string // the path to go to afterwards
}

// maxForm bounds the body of a login.
const maxForm = 8 << 10

func (a api) loginPage(w http.ResponseWriter, r *http.Request) {
	if a.door.open() {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	a.askToken(w, http.StatusOK, asked{To: within(r.URL.Query().Get("to"))})
}

// askToken answers with the login page.
func (a api) askToken(w http.ResponseWriter, code int, what asked) {
	a.answerPage(w, code, "login", what)
}

func (a api) answerPage(w http.ResponseWriter, code int, name string, what asked) {
	writeWithin(w, requestLimit)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_ = loginTemplates.ExecuteTemplate(w, name, what)
}

// logIn takes a token from the form and gives the browser a cookie.
func (a api) logIn(w http.ResponseWriter, r *http.Request) {
	if !own(r) {
		fail(w, http.StatusForbidden, errCrossed)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		fail(w, http.StatusBadRequest, errors.New("the body is no form with a token"))
		return
	}
	to := within(r.PostForm.Get("to"))
	if a.door.open() {
		http.Redirect(w, r, to, http.StatusSeeOther)
		return
	}
	secret := strings.TrimSpace(r.PostForm.Get("token"))
	token, err := a.door.known(r, secret)
	if err != nil {
		code := http.StatusUnauthorized
		if errors.As(err, new(tooSoon)) {
			code = http.StatusTooManyRequests
		}
		a.did(r, "denied: %v", err)
		a.askToken(w, code, asked{Wrong: capital(err.Error()), To: to})
		return
	}
	if before := callerOf(r).login; before != "" {
		a.door.logins.end(before)
	}
	a.did(r, "logged in with %s", token.who())
	http.SetCookie(w, a.door.cookie(a.door.logins.begin(sumOf(token.Secret), a.door.bound(r), time.Now())))
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (a api) logOut(w http.ResponseWriter, r *http.Request) {
	if !own(r) {
		fail(w, http.StatusForbidden, errCrossed)
		return
	}
	a.door.logins.end(callerOf(r).login)
	a.did(r, "logged out")
	http.SetCookie(w, a.door.cookie(""))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// refusePage answers a browser without the role that a page needs. Who is not logged in
// is asked for a token.
func (a api) refusePage(w http.ResponseWriter, r *http.Request, code int, err error) {
	login := "/login?" + url.Values{"to": {within(r.URL.RequestURI())}}.Encode()
	switch {
	case code == http.StatusUnauthorized && foreign(r) && visit(r): // without the cookie; from a page of this host the browser sends it
		a.answerPage(w, http.StatusOK, "again", asked{To: within(r.URL.RequestURI())})
	case code != http.StatusUnauthorized:
		a.askToken(w, code, asked{Wrong: capital(err.Error()), To: "/"})
	case r.Header.Get("HX-Request") != "":
		w.Header().Set("HX-Redirect", login)
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method == http.MethodGet:
		http.Redirect(w, r, login, http.StatusSeeOther)
	default:
		a.askToken(w, http.StatusUnauthorized, asked{Wrong: "You are not logged in any more. Nothing was done.", To: "/"})
	}
}

// within is a path of this host; "/" stands for all that leads elsewhere.
func within(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\n\r\t") {
		return "/"
	}
	return path
}

// capital is a sentence that begins with a capital letter.
func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
