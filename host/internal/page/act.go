package page

import (
	"encoding/base64"
	"encoding/json"
	"net/http"

	"balhost/host/internal/admin"
	"balhost/host/internal/plain"
)

// action does what a form orders. It says what it did, for the reader.
type action func(r *http.Request) (told, error)

// told is what an order led to. It is shown once, on the page that comes next.
type told struct {
	Text string `json:"text"`
	Bad  bool   `json:"bad,omitempty"` // it was not done
	to   string // the page that shows it; "": where the form was
}

const (
	maxForm   = 1 << 20 // bytes
	maxTold   = 1500    // bytes of a text: it must fit a cookie
	toldName  = "balhost_told"
	toldTaken = 60 // seconds
)

// act reads the form, does it, and leads back: so a reload of the page repeats nothing.
// The text goes in a cookie, and not in the address, where a stranger could put another.
func (p *Pages) act(do action) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			p.fail(w, r, wrong("the form can't be read: "+err.Error()))
			return
		}
		var did told
		err := unpack(r.PostForm)
		if err == nil {
			did, err = do(r)
		}
		if err != nil {
			did.Text, did.Bad = err.Error(), true
			admin.NotDone(r, codeOf(r, err))
		}
		p.status.forget()
		p.letters.forget()
		to := did.to
		if to == "" || err != nil {
			to = local(r.PostForm.Get("back"), "/")
		}
		putTold(w, r, did)
		http.Redirect(w, r, to, http.StatusSeeOther)
	}
}

func putTold(w http.ResponseWriter, r *http.Request, t told) {
	t.Text = plain.Clip(t.Text, maxTold)
	text, err := json.Marshal(t)
	if err != nil {
		return // a text is JSON
	}
	http.SetCookie(w, &http.Cookie{
		Name: admin.CookieName(r, toldName), Value: base64.RawURLEncoding.EncodeToString(text), Path: "/", MaxAge: toldTaken,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
}

// takeTold is what the last order led to, once.
func takeTold(w http.ResponseWriter, r *http.Request) (t told) {
	name := admin.CookieName(r, toldName)
	cookie, err := r.Cookie(name)
	if err != nil {
		return t
	}
	http.SetCookie(w, &http.Cookie{Name: name, Path: "/", MaxAge: -1, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode})
	if text, err := base64.RawURLEncoding.DecodeString(cookie.Value); err == nil {
		_ = json.Unmarshal(text, &t) // another one's cookie shows nothing
	}
	return t
}
