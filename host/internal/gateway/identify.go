package gateway

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"

	"balhost/host/internal/credential"
	"balhost/host/internal/frame"
)

// identify finds out who shows s, for the sockets. from and category are what it says
// itself, or "".
func (g *Gateway) identify(ctx context.Context, s shown, from, category string) (identity, *refusal) {
	id, no := g.whoIs(g.peerNamed(s.peer), credential.Shown{
		Authorization: s.authorization, Bearer: s.bearer, AppCheck: s.appCheck,
		Method: http.MethodGet, Path: frame.SocketPath, From: from, Category: category,
	}, nil)
	if no != nil || from == "" && id.From == "" { // the handshake; hello says it
		return identity{}, no
	}
	return g.device(ctx, id, from, category)
}

// identifyRequest finds out whose a request is, as far as the credential says it. body is
// needed if the request is signed.
func (g *Gateway) identifyRequest(q *request, body []byte) (credential.Identity, *refusal) {
	return g.whoIs(q.peer, credential.Shown{
		Authorization: q.r.Header.Get("Authorization"), AppCheck: q.r.Header.Get("X-Firebase-AppCheck"),
		Method: q.r.Method, Path: q.r.URL.EscapedPath(), Body: body,
	}, q.w.Header())
}

// whoIs checks a credential. header, if not nil, gets the challenge.
func (g *Gateway) whoIs(p peer, s credential.Shown, header http.Header) (credential.Identity, *refusal) {
	if no := g.barred(p); no != nil {
		return credential.Identity{}, no
	}
	id, err := g.keys.check(s)
	var denied *credential.Denied
	if errors.As(err, &denied) {
		g.failed(p, denied.Error())
		if header != nil {
			header.Set("WWW-Authenticate", denied.Challenge())
		}
		return id, &refusal{status: http.StatusUnauthorized, code: frame.CodeUnauthorized, description: denied.Error()}
	}
	return id, notNow(err)
}

// notNow is the refusal for an error of a credential that is not denied.
func notNow(err error) *refusal {
	var forbidden *credential.NotAllowed
	switch {
	case err == nil:
		return nil
	case errors.As(err, &forbidden):
		return forbid(forbidden.Error())
	}
	return noRoom(frame.CodeNotReady, err.Error())
}

func forbid(why string) *refusal {
	return &refusal{status: http.StatusForbidden, code: frame.CodeForbidden, description: why}
}

// device is the device that a credential and the device itself say. A user's device belongs
// to that user from its first use on.
func (g *Gateway) device(ctx context.Context, id credential.Identity, from, category string) (identity, *refusal) {
	switch {
	case id.From != "" && from != "" && from != id.From:
		return identity{}, forbid("from is another device's than this credential's: leave it out, or log in as that device")
	case id.From == "" && from == "":
		return identity{}, forbid("from is missing, and this credential does not say it")
	case len(from) > maxID || len(id.From) > maxID:
		return identity{}, forbid("from is longer than a registration token can be")
	case len(category) > maxCategory || len(id.Category) > maxCategory:
		return identity{}, forbid("category is longer than the name of an app can be")
	}
	who := identity{from: cmp.Or(id.From, from), category: cmp.Or(id.Category, category), until: id.Until}
	switch {
	case id.Bind:
		err := g.bound.bind(ctx, id.User, who.from)
		if errors.Is(err, errAllBound) {
			g.limited(who.from, "devices of all users")
		}
		return who, notNow(err)
	case id.From != "" && g.keys.binds():
		return who, notNow(g.bound.fix(ctx, who.from))
	}
	return who, nil
}

// bearer is the token of a request's header.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
