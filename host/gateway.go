package main

import (
	"fmt"
	"time"

	"balhost/host/internal/status"
)

// upByGateway is what came up by a session's gateway, and how soon it was acked; without
// a gateway nothing comes up by FCM.
func upByGateway(s status.Session) (up, ack string) {
	if s.Gateway == nil {
		return "-", ""
	}
	return fmt.Sprint(s.Upstreams), fmt.Sprintf("%.1fms", s.AckP99)
}

// stateGateway is the state of a session that has a gateway alone, in a word.
func stateGateway(s status.Session) string {
	if s.Gateway.Address == "" || s.Gateway.Mute != "" {
		return "not listening"
	}
	return "ready"
}

// certSoon is how long before its end a certificate is spoken of.
const certSoon = 14 * 24 * time.Hour

// printGateway prints what devices do at a gateway, and its problems.
func printGateway(p func(string, ...any), g status.Gateway, now time.Time) {
	p("gateway at %s: %s connected, %d of %d connections; up: %d stored, %d known already, %d refused, %s; down: %d sent, %d acked, %d in flight",
		g.Address, count(g.Sockets, "device", "devices"), g.Connections, g.MaxConnections,
		g.Stored, g.Duplicates, g.Refused, count(int(g.Receipts), "receipt", "receipts"), g.Downstreams, g.Acked, g.InFlight)
	if g.Mute != "" {
		p("gateway: does not listen, and tries again: %s", g.Mute)
	}
	if g.Returned > 0 {
		p("gateway: %s given back, because the device did not ack in time or its connection ended", count(int(g.Returned), "downstream was", "downstreams were"))
	}
	if g.NoRoom > 0 {
		p("gateway: %s not stored for now; the device sends them again", count(int(g.NoRoom), "upstream or receipt was", "upstreams or receipts were"))
	}
	if g.Denied > 0 {
		p("gateway: %s denied%s", count(int(g.Denied), "credential was", "credentials were"), last(g.LastDenied, g.LastDeniedAt, now))
	}
	if g.Limited > 0 {
		p("gateway: %s over a limit%s", count(int(g.Limited), "connection, request or message was", "connections, requests or messages were"), last(g.LastLimited, g.LastLimitedAt, now))
	}
	if g.NoCategory > 0 {
		p("gateway: %s no category, so only a plugin with the category \"*\" gets such%s", count(int(g.NoCategory), "upstream had", "upstreams had"), last(g.LastNoCategory, g.LastNoCategoryAt, now))
	}
	if g.Foreign > 0 {
		p("gateway: %s not in cors_origins%s", count(int(g.Foreign), "request of a web page was refused, because its origin is", "requests of web pages were refused, because their origins are"), last(g.LastForeign, g.LastForeignAt, now))
	}
	switch until := g.CertUntil; {
	case until.IsZero():
	case !until.After(now):
		p("gateway: its certificate has expired %s ago", ago(now, until))
	case until.Sub(now) < certSoon:
		p("gateway: its certificate expires in %s", short(until.Sub(now)))
	}
}

// last says of the last one what and when; "" if that is not known.
func last(what string, at, now time.Time) string {
	if what == "" || at.IsZero() {
		return ""
	}
	return fmt.Sprintf(", the last %s ago: %s", ago(now, at), what)
}
