package config

import (
	"errors"
	"io/fs"
	"regexp"
	"time"

	"github.com/hashicorp/hcl/v2"
)

func (c *checker) sessions(blocks []fileSession) []Session {
	var out []Session
	labels, senders := map[string]hcl.Range{}, map[string]hcl.Range{}
	for _, b := range blocks {
		s := c.session(b)
		if c.unique(labels, s.Name, b.Range, "session label %q is already used by the session at %s; logs and the API use it as the name, so choose another") && s.SenderID != "" {
			c.unique(senders, s.SenderID, b.Range, "sender_id %q is already used by the session at %s; keep one session for a sender, and raise its connections")
		}
		out = append(out, s)
	}
	if len(blocks) == 0 {
		c.problem(hcl.Range{Filename: c.name, Start: hcl.InitialPos, End: hcl.InitialPos}, `there is no session block; the host needs at least one CCS sender: session "main" { … }`)
	}
	return out
}

// label matches a session's name. The name becomes the label of a metric and an
// argument on the command line.
var label = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// senderID allows only what the local part of a JID can hold. Spec: RFC 6122 §2.3.
var senderID = regexp.MustCompile(`^[^\s"&'/:<>@\x00-\x1f\x7f]{1,256}$`)

// projectNumber is what FCM takes as a sender in a URL.
var projectNumber = regexp.MustCompile(`^[0-9]{1,20}$`)

func (c *checker) session(b fileSession) Session {
	if !label.MatchString(b.Name) {
		c.problem(b.Range, "session label %q: give letters, digits, '_', '.' and '-' only, 64 at most", b.Name)
	}
	c.required(b.Range, b.SenderID, "session", b.Name, "sender_id")
	s := Session{Name: b.Name, SenderID: c.text(b.SenderID, "")}
	if b.CCS != nil {
		s.CCS = c.ccs(b.Name, *b.CCS)
	}
	if b.FCMv1 != nil {
		s.FCMv1 = c.fcmV1(b.Name, *b.FCMv1)
	}
	if b.Gateway != nil {
		s.Gateway = c.gateway(b.Name, *b.Gateway)
	}
	switch {
	case b.CCS != nil && b.FCMv1 != nil:
		c.problem(b.FCMv1.Range, "session %q has both ccs and fcm_v1: keep the one that is to carry its messages; what waits goes out by it", b.Name)
	case b.CCS == nil && b.FCMv1 == nil && b.Gateway == nil:
		c.problem(b.Range, "session %q has no transport: give it a block fcm_v1 { credentials = file(\"service-account.json\") }, which reaches today's phones, a block gateway { … }, to which devices connect, or a block ccs { … } for a server that speaks CCS", b.Name)
	}
	switch id, ok := c.given(b.SenderID); {
	case !ok:
	case !senderID.MatchString(id) || unprintable(id) != "":
		c.bad(b.SenderID, "%q can't be a sender id: it is the project number, digits like 482915730064", id)
	case b.FCMv1 != nil && !projectNumber.MatchString(id):
		c.bad(b.SenderID, "%q is no project number: fcm_v1 needs its digits, like 482915730064 (Firebase console: Project settings, Cloud Messaging, Sender ID)", id)
	}
	return s
}

func (c *checker) ccs(session string, b fileCCS) *CCS {
	c.required(b.Range, b.Address, "session", session, "address")
	c.required(b.Range, b.ServerKey, "session", session, "server_key")
	s := &CCS{
		Address:        c.text(b.Address, ""),
		ServerKey:      c.secret(b.ServerKey),
		Connections:    int(c.number(b.Connections, 1, 1, 1000)), // Spec: ccs-protocol.md §1.4, CCS allows a sender no more
		MaxConnections: int(c.number(b.MaxConnections, 1000, 1, 1000)),
		Window:         int(c.number(b.Window, 100, 1, 100)), // Spec: ccs-protocol.md §8, CCS allows no more
		PingInterval:   c.duration(b.PingInterval, 20*time.Second, time.Millisecond, day),
		PingTimeout:    c.duration(b.PingTimeout, 10*time.Second, time.Millisecond, day),
		AnswerTimeout:  c.duration(b.AnswerTimeout, time.Minute, time.Millisecond, day),
		MaxStanza:      c.size(b.MaxStanza, mib, 16*kib, mib), // the ledger can't store much larger messages
		AckWarn:        c.duration(b.AckWarn, 100*time.Millisecond, time.Microsecond, day),
		ConnectBackoff: c.backoff(b.ConnectBackoff, Backoff{Min: time.Second, Max: 5 * time.Minute}),
	}
	if b.TLS != nil {
		s.TLS = TLS{CAFile: c.caFile(b.TLS.CAFile), ServerName: c.serverName(b.TLS.ServerName)}
	}
	if address, ok := c.given(b.Address); ok {
		if host, ok := c.hostPort(b.Address, address, 1); ok && host == "" {
			c.bad(b.Address, "%q names no host: write host:port", address)
		}
	}
	if b.MaxConnections != nil && s.Connections > s.MaxConnections {
		c.bad(b.MaxConnections, "%d is less than connections (%d): it also counts connections that CCS drains", s.MaxConnections, s.Connections)
	}
	return s
}

// caFile is the path of CA certificates. What is in it is checked, but it may be missing:
// the simulator may write it later.
func (c *checker) caFile(a *hcl.Attribute) string {
	path := c.path(a, "")
	if _, err := roots(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.bad(a, "%v", err)
	}
	return path
}
