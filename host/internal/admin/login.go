package admin

import (
	"crypto/rand"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	maxLogins = 16 // of one token: who has one logs out nobody who has another
	loginTime = 12 * time.Hour
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
	from  netip.Prefix // where the browser is
	until time.Time
}

// begin makes a login with a token, and returns its id, which only the browser has.
func (l *logins) begin(token sum, from netip.Prefix, now time.Time) (id string) {
	id = rand.Text()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[sum]login{}
	}
	var oldest sum
	same := 0
	for id, each := range l.of {
		if !now.Before(each.until) {
			delete(l.of, id)
		} else if each.token == token {
			if first, ok := l.of[oldest]; !ok || each.until.Before(first.until) {
				oldest = id
			}
			same++
		}
	}
	if same >= maxLogins {
		delete(l.of, oldest)
	}
	l.of[sumOf(id)] = login{token: token, from: from, until: now.Add(loginTime)}
	return id
}

// token is that of a login; ok is false when there is none with that id there any more.
func (l *logins) token(id string, from netip.Prefix, now time.Time) (token sum, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	each, ok := l.of[sumOf(id)]
	return each.token, ok && each.from == from && now.Before(each.until)
}

// end ends a login.
func (l *logins) end(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.of, sumOf(id))
}

// bound is where a login holds. Over plain HTTP a browser sends its cookie to every port of
// the host's name, and who is on the way can read it: so it is of no use elsewhere. Over TLS
// only who has the certificate's key gets it, and the browser may move.
func (d *door) bound(r *http.Request) netip.Prefix {
	if d.secure {
		return netip.Prefix{}
	}
	return place(r.RemoteAddr)
}

// cookie is what a browser keeps of its login; id "" makes it forget that. Scripts can't
// read it, and no other site's page makes the browser send it.
func (d *door) cookie(id string) *http.Cookie {
	c := &http.Cookie{Name: d.cookieName("balhost_login"), Value: id, Path: "/", HttpOnly: true, Secure: d.secure, SameSite: http.SameSiteStrictMode, MaxAge: int(loginTime.Seconds())}
	if id == "" {
		c.MaxAge = -1
	}
	return c
}

// cookieName is the name of a cookie of this host alone: a browser has the same cookies for
// all hosts of one name, whatever their ports. Over TLS nobody else can set it, by the rules
// of browsers for names that begin so. Spec: RFC 6265bis §4.1.3.2.
func (d *door) cookieName(name string) string {
	name += "_" + d.instance
	if d.secure {
		return "__Host-" + name
	}
	return name
}
