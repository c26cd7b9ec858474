package gateway

import (
	"context"
	"crypto/subtle"
	"net/http"
	"strings"

	"balhost/host/internal/credential"
	"balhost/host/internal/frame"
)

// identify finds out who shows s, for the sockets. from and category are what it says
// itself, or "".
func (g *Gateway) identify(_ context.Context, s shown, from, category string) (identity, *refusal) {
	for _, rule := range g.o.Auth {
		if rule.Kind == credential.Static && subtle.ConstantTimeCompare([]byte(s.bearer), []byte(rule.Token.Reveal())) == 1 {
			return identity{from: from, category: category}, nil
		}
	}
	return identity{}, &refusal{status: http.StatusUnauthorized, code: frame.CodeUnauthorized, description: "the credential fits no auth block"}
}

// bearer is the token of a request's header.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
