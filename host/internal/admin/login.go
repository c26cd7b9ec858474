package admin

import (
	"crypto/rand"
	"net/http"
	"sync"
	"time"
)

const (
	maxLogins    = 64
	loginTime    = 12 * time.Hour
	cookiePrefix = "balhost_login_"
)

// logins are the browsers that are logged in. A restart of the host ends all.
type logins struct {
	mu sync.Mutex // guards what follows
	of map[sum]login
}

// login is one browser. It may what the token may with which it logged in, as long as
// the config has this token.
type login struct {
	token sum
	until time.Time
}

// begin makes a login with a token, and returns its id, which only the browser has.
func (l *logins) begin(token sum, now time.Time) (id string) {
	id = rand.Text()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[sum]login{}
	}
	var oldest sum
	for id, each := range l.of {
		if !now.Before(each.until) {
			delete(l.of, id)
		} else if first, ok := l.of[oldest]; !ok || each.until.Before(first.until) {
			oldest = id
		}
	}
	if len(l.of) >= maxLogins {
		delete(l.of, oldest)
	}
	l.of[sumOf(id)] = login{token: token, until: now.Add(loginTime)}
	return id
}

// token is that of a login; ok is false when there is none with that id any more.
func (l *logins) token(id string, now time.Time) (token sum, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	each, ok := l.of[sumOf(id)]
	return each.token, ok && now.Before(each.until)
}

// end ends a login.
func (l *logins) end(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.of, sumOf(id))
}

// cookie is what a browser keeps of its login; id "" makes it forget that. Scripts can't
// read it, and no other site's page makes the browser send it.
func (d *door) cookie(r *http.Request, id string) *http.Cookie {
	c := &http.Cookie{Name: cookieName(r), Value: id, Path: "/", HttpOnly: true, Secure: d.secure, SameSite: http.SameSiteStrictMode, MaxAge: int(loginTime.Seconds())}
	if id == "" {
		c.MaxAge = -1
	}
	return c
}
