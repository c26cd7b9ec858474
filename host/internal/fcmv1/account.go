package fcmv1

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"balhost/host/internal/flow"
	"balhost/host/internal/serviceaccount"
)

// account is what is known of who we are for FCM.
type account struct {
	key   serviceaccount.Key // zero with ADC, or if it can't be read
	wrong string             // why FCM does not serve this account; "": it does, or has not said
	known bool               // it has served it
	file  string             // why the changed key file is not used; "": it is
}

// halted notes that FCM does not serve the account, and says what to do.
func (a *account) halted(j *judgement, project string) string {
	a.wrong = advised(j.Description, accountAdvice(j, project, a.key))
	return a.wrong
}

// served notes that FCM serves the account.
func (a *account) served() { a.wrong, a.known = "", true }

// recheck is how often FCM is asked again while it does not serve the account, beside
// what the outbox sends as a probe: there may be nothing to send.
const recheck = 5 * time.Minute

// introduce asks FCM whether it serves the account, so that a wrong one is known before
// the first message, and a corrected one without any.
func (s *Session) introduce(ctx context.Context) {
	for {
		if _, err := s.bearer.get(ctx); err != nil {
			return // we stop
		}
		if !s.Stands() { // else Open has asked, or a message was taken
			s.ask(true)
			switch err := s.check(ctx); {
			case ctx.Err() != nil:
				return
			case err != nil:
				s.said.Log(s.o.Log.Error, "FCM does not serve this account, or can't be asked", "err", err)
			default:
				s.o.Log.Info("FCM serves this account", "addr", s.url.Host)
			}
		}
		s.ask(false)
		select {
		case <-time.After(recheck):
		case <-s.asked:
		case <-ctx.Done():
			return
		}
	}
}

// ask takes a place in the window for introduce, or gives it back. Without a place its
// request would be one more than the connections have streams: net/http would dial for it.
func (s *Session) ask(now bool) {
	s.mu.Lock()
	s.asking = now
	s.mu.Unlock()
	hint(s.freed)
}

// checkRequest is a message that FCM checks and does not send. Nobody has the topic.
// Spec: fcm-v1-and-gateway.md A10.
const checkRequest = `{"validate_only":true,"message":{"topic":"balhost-check","data":{"bal_id":"check"}}}`

// check asks FCM whether it serves the account.
func (s *Session) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	j := s.authorized(ctx, func(time.Time) ([]byte, error) { return []byte(checkRequest), nil })
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case j.Verdict == flow.Acked, j.sign == quota, j.sign == targetRate:
		s.account.served()
		return nil
	case j.Verdict == flow.Halt:
		return fmt.Errorf("%s: %s", j.Code, s.account.halted(&j, s.o.SenderID))
	}
	if j.sign == unsent {
		return &Unreached{Endpoint: s.o.Endpoint, Why: j.Description}
	}
	return fmt.Errorf("%s: %s", cmp.Or(j.Code, "no answer"), j.Description)
}

// Unreached is the error when no request gets to FCM, so FCM has refused nothing.
type Unreached struct{ Endpoint, Why string }

func (u *Unreached) Error() string {
	return fmt.Sprintf("%s (endpoint) is not reached: %s", u.Endpoint, u.Why)
}

// Open fetches an access token and asks FCM whether it serves the account, before Run.
// So a wrong key, project or endpoint is known while the session that s is to succeed
// goes on. No message passes.
func (s *Session) Open(ctx context.Context) error {
	fetch, cancel := context.WithCancel(ctx)
	var fetching sync.WaitGroup
	fetching.Go(func() { s.bearer.run(fetch) }) //nolint:errcheck // it never fails
	defer fetching.Wait()
	defer cancel()
	if err := s.bearer.tried(ctx); err != nil {
		return err
	}
	return s.check(ctx)
}

// Close lets go of what Open holds, if Run has not taken it over.
func (s *Session) Close() { s.close() }

// Stands reports whether FCM serves the account.
func (s *Session) Stands() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.account.known && s.account.wrong == ""
}

// Probe reports whether FCM would take messages with these options. It sends none. Of
// the options it needs no Outbox.
func Probe(ctx context.Context, o Options) error {
	s := New(o)
	defer s.Close()
	return s.Open(ctx)
}
