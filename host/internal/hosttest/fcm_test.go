package hosttest

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"balhost/host/internal/ccs"
	"balhost/host/internal/config"
	"balhost/host/internal/fcmsim"
	"balhost/host/internal/fcmv1"
)

// fcmSender is the sender id of the session with fcm_v1, in the worlds that have one.
const fcmSender = senderID + "9"

// phones makes a FCM, and a session that sends to it.
func (w *world) phones() {
	r, err := w.rnd, error(nil)
	o := fcmsim.Options{
		Listener: NewPipes(), Seed: w.seed, SenderID: fcmSender, MaxStreams: []int{3, 100}[r.IntN(2)],
		IdleTimeout: time.Duration(1+r.IntN(60)) * time.Second, Grease: chance(r, 30), Transcript: -1,
	}
	if chance(r, 70) {
		o.AnswerDelay = fcmsim.Range{Max: upTo(r, 2*time.Second)}
	}
	if w.fcm, err = fcmsim.NewServer(o); err != nil {
		w.Fatal(err)
	}
	w.options.FCM = o.Listener.(*Pipes)
	w.options.FCMv1 = func(h *Host, o *fcmv1.Options) {
		o.Outbox = &tap{Outbox: o.Outbox.(ccs.Outbox), h: h, b: w.books, flight: w.flight}
		o.Transport = &poster{RoundTripper: h.Link.requests(o.Connections), b: w.books, flight: w.flight, most: 100 * o.Connections}
		o.Stop = 2 * time.Second
	}
	w.options.Sessions = append(w.options.Sessions, config.Session{
		Name: "first-" + fcmSender, SenderID: fcmSender, FCMv1: &config.FCMv1{
			Credentials: config.Secret(w.fcm.ServiceAccount()), Endpoint: w.fcm.URL(), Connections: 1 + r.IntN(3), Rate: 8000,
		},
	})
}

// requests carries requests to FCM as a session's own transport does, but without TLS,
// which would ask for the real time.
func (l *Link) requests(connections int) http.RoundTripper {
	plain := new(http.Protocols)
	plain.SetUnencryptedHTTP2(true)
	return &http.Transport{
		Protocols: plain, DialContext: l.dialFCM, MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, IdleConnTimeout: 90 * time.Second,
		HTTP2: &http.HTTP2Config{SendPingTimeout: 31 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// fcmActions are what can happen to FCM.
func fcmActions() (all []action) {
	for _, a := range []action{
		{4, "FCM: cut", (*world).fcmCut},
		{4, "FCM: go away", (*world).fcmGoAway},
		{8, "FCM: answers", (*world).fcmAnswers},
		{2, "FCM: wrong project", (*world).fcmProject},
		{3, "FCM: as usual", (*world).fcmUsual},
		{2, "FCM: freeze", (*world).fcmFreeze},
		{3, "FCM: tokens", (*world).fcmTokens},
		{3, "FCM: an app goes or comes", (*world).fcmApps},
	} {
		do := a.do
		a.do = func(w *world) string {
			if w.fcm == nil {
				return ": there is none"
			}
			return do(w)
		}
		all = append(all, a)
	}
	return all
}

func (w *world) fcmCut() string {
	c := fcmsim.Cut{Mode: []fcmsim.CutMode{fcmsim.CutFIN, fcmsim.CutRST, fcmsim.CutBlackhole}[w.rnd.IntN(3)], Lose: chance(w.rnd, 50)}
	n, err := w.fcm.Cut(c)
	return fmt.Sprintf(" %+v: %d %v", c, n, err)
}

func (w *world) fcmGoAway() string {
	g := fcmsim.GoAway{Code: []string{"", "", "ENHANCE_YOUR_CALM", "INTERNAL_ERROR"}[w.rnd.IntN(4)], Drop: w.rnd.IntN(4)}
	n, err := w.fcm.GoAway(g)
	return fmt.Sprintf(" %+v: %d %v", g, n, err)
}

// answers are what FCM says now and then, to any message.
var answers = []fcmsim.Response{
	fcmsim.Unavailable, fcmsim.Unavailable.After("20"), fcmsim.Unavailable.Delivered(), fcmsim.Internal, fcmsim.Internal.Delivered(), fcmsim.BadGateway,
	fcmsim.GatewayTimeout.Delivered(), fcmsim.RequestTimeout, fcmsim.ProjectQuota.After("5"), fcmsim.ProjectQuota, fcmsim.Overload, fcmsim.TargetQuota.After("3"),
	fcmsim.TargetQuota, fcmsim.TopicQuota, fcmsim.Unregistered, fcmsim.UnregisteredAPNs, fcmsim.InvalidField, fcmsim.InvalidToken, fcmsim.SenderIDMismatch,
	fcmsim.ThirdPartyAuth, fcmsim.TokenExpired, fcmsim.Unauthorized, fcmsim.EmptyObject, fcmsim.AcceptedHTML, fcmsim.AcceptedHalf, fcmsim.Hang,
	fcmsim.Hang.Delivered(), fcmsim.Reset, fcmsim.Reset.Delivered(), fcmsim.Refused, fcmsim.Closed, fcmsim.Closed.Delivered(), fcmsim.OK.Later(5 * time.Second),
}

func (w *world) fcmAnswers() string {
	i, m := w.rnd.IntN(len(answers)), fcmsim.Match{Count: 1 + w.rnd.IntN(4)}
	if chance(w.rnd, 20) {
		m.Target = "dev-*-1"
	}
	err := w.fcm.Answer(m, answers[i])
	return fmt.Sprintf(" %+v: %d %s %s %v", m, answers[i].Status, answers[i].Reset, answers[i].Cut, err)
}

// fcmProject makes the project, or the account's rights, wrong for everything.
func (w *world) fcmProject() string {
	wrong := []fcmsim.Response{fcmsim.NoProject, fcmsim.NotFound, fcmsim.PermissionDenied, fcmsim.ServiceDisabled}[w.rnd.IntN(4)]
	w.fcm.ClearAnswers()
	err := w.fcm.Answer(fcmsim.Match{Count: -1}, wrong)
	return fmt.Sprintf(": %d %v", wrong.Status, err)
}

func (w *world) fcmUsual() string {
	w.fcm.ClearAnswers()
	w.fcm.SetTokens(fcmsim.Tokens{ExpiresIn: fcmsim.Duration(time.Hour)})
	w.fcm.Freeze(false)
	return ""
}

func (w *world) fcmFreeze() string {
	w.fcm.Freeze(true)
	return ""
}

func (w *world) fcmTokens() string {
	t := fcmsim.Tokens{ExpiresIn: fcmsim.Duration(1 + upTo(w.rnd, 10*time.Minute)), Revoke: chance(w.rnd, 50)}
	w.fcm.SetTokens(t)
	if chance(w.rnd, 30) {
		fault := []fcmsim.Response{fcmsim.InvalidGrant, fcmsim.InternalFailure, fcmsim.Hang, fcmsim.BadGateway}[w.rnd.IntN(4)]
		if err := w.fcm.Answer(fcmsim.Match{Token: true}, fault); err != nil {
			w.books.wrong("%v", err)
		}
	}
	return fmt.Sprintf(" %+v", t)
}

func (w *world) fcmApps() string {
	token := fmt.Sprintf("dev-%s-%d", fcmSender, w.rnd.IntN(4))
	if chance(w.rnd, 50) {
		w.fcm.Uninstall(token)
		return ": " + token + " goes"
	}
	return fmt.Sprintf(": %s comes: %v", token, w.fcm.Register(fcmsim.Install{Token: token}))
}

// fcmCodes are what a downstream may fail with: FCM's codes that say something of a
// message or a device, and those of attempts that had no success. What says something of
// the account or the project is not among them.
var fcmCodes = []string{
	"UNREGISTERED", "INVALID_ARGUMENT", "SENDER_ID_MISMATCH", "THIRD_PARTY_AUTH_ERROR",
	"INTERNAL", "UNAVAILABLE", "QUOTA_EXCEEDED", "DEADLINE_EXCEEDED", "HTTP_502", fcmv1.CodeNoAnswer,
}

// checkFCM: what FCM got was stored before (P2), as it was sent, and groups in their
// order (P5). mu is held.
func (b *books) checkFCM(h *Host) {
	if b.w.fcm == nil {
		return
	}
	for _, token := range b.targets(fcmSender) {
		r, _ := b.w.fcm.Device(token)
		var all []arrival
		for _, m := range r.Last {
			all = append(all, arrival{m.BalID, m.Duplicate})
			d := b.downs[m.BalID]
			if d == nil {
				continue // arrived says so
			}
			if m.Data == nil {
				continue // looked at before: the simulator keeps the data of a device's last messages only
			}
			if d.ttl != nil && time.Duration(m.TTL) > *d.ttl {
				b.bad("FCM got %s with a TTL of %s, and it was sent with %s", m.BalID, time.Duration(m.TTL), *d.ttl)
			}
			if seq := m.Data["bal_seq"]; d.group != "" && seq != fmt.Sprint(b.seqs[m.BalID]) {
				b.bad("FCM got %s with bal_seq %q, and it is %d", m.BalID, seq, b.seqs[m.BalID])
			}
		}
		b.arrived(h, token, all)
	}
}

// said notes that FCM answered a downstream.
func (b *books) said(mid string, status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.statuses[mid] = append(b.statuses[mid], status)
}

// checkFailed: a downstream failed for what FCM said of it, and its target is gone if
// that is what FCM said. mu is held.
func (b *books) checkFailed(d *downstream, code string, gone bool) {
	said := b.statuses[d.mid]
	switch {
	case !slices.Contains(fcmCodes, code):
		b.bad("P4: %s failed with %q", d.mid, code)
	case code != fcmv1.CodeNoAnswer && !slices.ContainsFunc(said, func(status int) bool { return status >= 400 }):
		b.bad("P4: %s failed with %q, and FCM said %v", d.mid, code, said)
	case gone != (code == "UNREGISTERED"):
		b.bad("%s failed with %s, and its target is gone: %v", d.mid, code, gone)
	}
}
