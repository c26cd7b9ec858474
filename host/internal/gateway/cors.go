package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// cors lets pages of the allowed origins post, and nobody else. There is no credentials
// mode: a page needs a token, and a cookie is none. Spec: fcm-v1-and-gateway.md C5.
func (g *Gateway) cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, origin := w.Header(), r.Header.Get("Origin")
		if foreign(r, g.o.CORSOrigins) {
			g.foreigner(origin)
		}
		if len(g.o.CORSOrigins) == 0 {
			next.ServeHTTP(w, r)
			return
		}
		h.Add("Vary", "Origin")
		if !slices.Contains(g.o.CORSOrigins, origin) {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "Retry-After")
		if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Methods", http.MethodPost)
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Firebase-AppCheck, Traceparent")
		h.Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
	})
}

// foreign reports whether r comes from a web page that is neither of this host nor of one of
// the allowed origins.
func foreign(r *http.Request, allowed []string) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(allowed, origin) {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host)
}
