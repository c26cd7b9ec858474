package told

import (
	"fmt"
	"time"

	"balhost/host/internal/status"
)

// CertSoon is how long before its end a certificate is spoken of.
const CertSoon = 14 * 24 * time.Hour

// gateway has the problems of a gateway.
func (p *lines) gateway(g status.Gateway, now time.Time) {
	if g.Mute != "" {
		p.add("gateway: does not listen, and tries again: %s", g.Mute)
	}
	if g.Returned > 0 {
		p.add("gateway: %s given back, because the device did not ack in time or its connection ended", Count(int(g.Returned), "downstream was", "downstreams were"))
	}
	if g.NoRoom > 0 {
		p.add("gateway: %s not stored for now; the device sends them again", Count(int(g.NoRoom), "upstream or receipt was", "upstreams or receipts were"))
	}
	if g.Denied > 0 {
		p.add("gateway: %s denied%s", Count(int(g.Denied), "credential was", "credentials were"), last(g.LastDenied, g.LastDeniedAt, now))
	}
	if g.Limited > 0 {
		p.add("gateway: %s over a limit%s", Count(int(g.Limited), "connection, request or message was", "connections, requests or messages were"), last(g.LastLimited, g.LastLimitedAt, now))
	}
	if g.NoCategory > 0 {
		p.add("gateway: %s no category, so only a plugin with the category \"*\" gets such%s", Count(int(g.NoCategory), "upstream had", "upstreams had"), last(g.LastNoCategory, g.LastNoCategoryAt, now))
	}
	if g.Foreign > 0 {
		p.add("gateway: %s not in cors_origins%s", Count(int(g.Foreign), "request of a web page was refused, because its origin is", "requests of web pages were refused, because their origins are"), last(g.LastForeign, g.LastForeignAt, now))
	}
	switch until := g.CertUntil; {
	case until.IsZero():
	case !until.After(now):
		p.add("gateway: its certificate has expired %s ago", Ago(now, until))
	case until.Sub(now) < CertSoon:
		p.add("gateway: its certificate expires in %s", Short(until.Sub(now)))
	}
}

// last says of the last one what and when; "" if that is not known.
func last(what string, at, now time.Time) string {
	if what == "" || at.IsZero() {
		return ""
	}
	return fmt.Sprintf(", the last %s ago: %s", Ago(now, at), what)
}
