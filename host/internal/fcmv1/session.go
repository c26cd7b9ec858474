package fcmv1

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/host/internal/flow"
	"balhost/host/internal/said"
	"balhost/host/internal/secret"
	"balhost/sdk/message"

	"golang.org/x/sync/errgroup"
)

// Session is one Firebase project's way to the phones.
type Session struct {
	o       Options
	url     *url.URL // of messages:send
	lanes   *lanes
	tokens  *http.Client
	links   links
	bearer  *bearer
	metrics *metrics
	said    *said.Lines
	counts  counts
	freed   chan struct{} // hint for serve: a request has ended, or a pause
	asked   chan struct{} // hint for introduce: ask again

	mu       sync.Mutex // guards what follows
	taken    int        // how often the outbox was asked
	inFlight int
	asking   bool // introduce asks FCM, and has a place in the window
	window   window
	pace     *pace
	health   *health
	alarms   alarms
	account  account
	secrets  *secret.Set // that hides the token of this number
	hides    int
	err      string // the last answer that no outcome tells of
	errAt    time.Time
	serves   bool // FCM has served the last request that was answered, as tell has told
	told     bool // whether it does
}

// counts are a session's totals since the start.
type counts struct {
	sent, acked, refused, ambiguous, odd atomic.Uint64
}

// New makes a Session; Run starts it.
func New(o Options) *Session {
	s := &Session{o: o.withDefaults(), said: said.New(time.Now), freed: make(chan struct{}, 1), asked: make(chan struct{}, 1)}
	s.url = endpoint(s.o)
	s.window = newWindow(s.o.Connections)
	s.pace, s.health = newPace(s.o.Rate), newHealth(s.o.Backoff)
	s.lanes = newLanes(&s.links, &s.o)
	s.tokens = tokenClient(&s.o)
	fetch, err := s.fetcherOf(s.o.Credentials)
	if err != nil { // config has read them before; the session says so
		fetch = func(context.Context) (access, error) { return access{}, err }
	}
	s.bearer = newBearer(fetch, s.tokenNews)
	s.metrics = newMetrics(s.o.Metrics, s)
	return s
}

// endpoint is where downstreams are posted. Spec: fcm-v1-and-gateway.md A1.
func endpoint(o Options) *url.URL {
	u, err := url.Parse(strings.TrimSuffix(o.Endpoint, "/") + "/v1/projects/" + url.PathEscape(o.SenderID) + "/messages:send")
	if err != nil { // config has read it before; no request will get out
		return &url.URL{}
	}
	return u
}

// Run sends what the outbox has until ctx ends. Then it takes no more, waits a little
// for answers, and gives back what has none.
func (s *Session) Run(ctx context.Context) error {
	defer s.close()
	s.ask(!s.Stands()) // before serve can fill the window
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.bearer.run(ctx) })
	g.Go(func() error { s.watchKey(ctx); return nil })
	g.Go(func() error { s.introduce(ctx); return nil })
	g.Go(func() error { return s.serve(ctx) })
	return g.Wait()
}

// serve moves downstreams from the outbox to FCM, as many as there is room for. Each
// has a goroutine until its answer has come.
func (s *Session) serve(ctx context.Context) error {
	sendCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	var sending sync.WaitGroup
	for ctx.Err() == nil {
		changed := s.o.Outbox.Changed(s.o.SenderID) // before looking, so that no change is missed
		_, token := s.bearer.look()
		n, wait := s.room(time.Now())
		taken := s.take(n)
		for _, g := range taken {
			sending.Go(func() { s.send(sendCtx, g) })
		}
		if len(taken) > 0 {
			continue
		}
		if n == 0 {
			changed = nil
		}
		s.wait(ctx, wait, changed, token)
	}
	limit := time.AfterFunc(s.o.Stop, func() { cancel(errStopping) })
	defer limit.Stop()
	sending.Wait()
	return nil
}

// wait waits for a reason to look again; none is needed after d, if d is not 0.
func (s *Session) wait(ctx context.Context, d time.Duration, changed, token <-chan struct{}) {
	var timer <-chan time.Time
	if d > 0 {
		timer = time.After(d)
	}
	select {
	case <-changed:
	case <-token:
	case <-s.freed:
	case <-timer:
	case <-ctx.Done():
	}
}

// most is how many downstreams are taken at a time, so that the first does not wait
// until all are read.
const most = 32

// room is how many downstreams may go now. If none may, wait is until one may, and 0 if
// that hangs on something else.
func (s *Session) room(now time.Time) (n int, wait time.Duration) {
	if a, _ := s.bearer.look(); a.token == "" {
		return 0, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	limit, paused := s.health.room(s.window.size(s.links.crowded.Load(), now), now)
	if s.asking {
		limit--
	}
	if n = min(limit-s.inFlight, most); n <= 0 {
		return 0, paused
	}
	allowed, wait := s.pace.room(now)
	return min(n, allowed), wait
}

// take takes up to n downstreams.
func (s *Session) take(n int) []entry.Outgoing {
	if n == 0 {
		return nil
	}
	s.mu.Lock()
	s.taken++
	number := s.taken // no request is like a connection that may end over its neighbours
	s.mu.Unlock()
	taken := s.o.Outbox.Take(s.o.SenderID, number, n)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight += len(taken)
	s.pace.sent(len(taken), time.Now())
	return taken
}

// send sends one downstream and tells the outbox what became of it.
func (s *Session) send(ctx context.Context, g entry.Outgoing) {
	began := time.Now()
	j := s.deliver(ctx, g)
	if ctx.Err() == nil { // else we stop, which says nothing of FCM
		s.note(&j, g, began)
		s.say(&j)
	}
	s.count(j)
	s.o.Outbox.Answered(s.o.SenderID, g.Seq, j.Answer)
	s.mu.Lock()
	s.inFlight--
	s.mu.Unlock()
	hint(s.freed)
}

// errStopping ends requests that have no answer when the session stops.
var errStopping = errors.New("the host or the session stops")

// hint makes look again who waits for c, which holds one.
func hint(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Hurry ends waits: a person says that what was wrong is mended. It reports whether
// there were any.
func (s *Session) Hurry() (waited bool) {
	waited = s.bearer.hurry()
	s.mu.Lock()
	waited = s.health.hurry(time.Now()) || waited
	s.mu.Unlock()
	hint(s.freed)
	hint(s.asked)
	return waited
}

// close lets go of connections that idle.
func (s *Session) close() {
	s.tokens.CloseIdleConnections()
	s.lanes.close()
}

// hidden hides our secrets in what a peer says.
func (s *Session) hidden(token access) *secret.Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secrets == nil || s.hides != token.number {
		s.secrets, s.hides = secret.New(append([]string{token.token}, s.o.Secrets...)...), token.number
	}
	return s.secrets
}

// note takes in what an answer says of the session, and changes the verdict where only
// the session knows more. began is when the downstream was taken.
func (s *Session) note(j *judgement, g entry.Outgoing, began time.Time) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.tell(j)
	switch j.sign {
	case unsent:
		s.health.unsent(began, now, j.Description)
	case ambiguous, trouble, redirected:
		s.health.trouble(g.Message.To, began, now, j.Description)
	case unsupported:
	default:
		s.health.well()
	}
	if j.sign == targetRate && s.health.overRate(g.Message.To, now) {
		j.Verdict, j.sign = flow.Rest, quota
	}
	if j.sign == quota {
		s.pace.rest(j.RetryAfter, now)
	}
	switch {
	case j.Verdict == flow.Halt:
		j.Description = s.account.halted(j, s.o.SenderID)
	case j.sign.serves():
		s.account.served()
	}
	retried := j.Verdict != flow.Acked && j.Verdict != flow.Fail
	if retried {
		s.err, s.errAt = j.Code+": "+j.Description, now
	}
	s.alarms.note(j.sign, retried, j.Description, now)
	if j.Verdict == flow.Fail {
		j.Description = advised(j.Description, messageAdvice(j))
	}
}

// tell tells those who watch when FCM begins to serve the session, or ceases to. The caller
// holds mu.
func (s *Session) tell(j *judgement) {
	serves := s.health.failures == 0 && j.Verdict != flow.Halt
	if s.told && serves == s.serves {
		return
	}
	s.told, s.serves = true, serves
	step := feed.Step{What: feed.Connected, Kind: feed.Session, Session: s.o.SenderID, By: string(message.FCMv1), Address: s.url.Host}
	if !serves {
		step.What, step.Code, step.Error = feed.Lost, j.Code, j.Description
	}
	s.o.Feed.Tell(step)
}

// say logs what an answer says of the session. The outbox logs what became of the downstream.
func (s *Session) say(j *judgement) {
	switch warn := s.o.Log.Warn; j.sign {
	case unsent:
		s.said.Log(warn, "requests don't get through to FCM", "err", j.Description)
	case ambiguous, trouble, redirected:
		s.said.Log(warn, "FCM gives no answer, or is in trouble; downstreams are tried again", "code", j.Code, "err", j.Description)
	case quota:
		s.said.Log(warn, "the project's quota at FCM is used up", "took", j.RetryAfter, "err", advised(j.Description, quotaAdvice))
	}
}
