package fcmv1

import (
	"context"
	"fmt"
	"time"

	"balhost/host/internal/serviceaccount"
)

// fetchLimit is for one fetch of an access token.
const fetchLimit = 20 * time.Second

// fetcherOf fetches tokens by the text of Options.Credentials, and notes whose they are.
func (s *Session) fetcherOf(credentials string) (fetcher, error) {
	if credentials == ADC {
		return adcFetcher(s.tokens), nil
	}
	key, err := serviceaccount.Parse(credentials)
	if err != nil {
		return nil, fmt.Errorf("the key file %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account.key = key
	return keyFetcher(key, s.tokens), nil
}

// watchKey reads the key file again when it changes. A file that can't be used leaves
// the old key in force.
func (s *Session) watchKey(ctx context.Context) {
	if s.o.CredentialsFile == "" {
		return
	}
	missed := func(err error) {
		s.mu.Lock()
		s.account.file = text(err.Error())
		s.mu.Unlock()
		s.said.Log(s.o.Log.Warn, "the key file can't be used; the old key stays", "path", s.o.CredentialsFile, "err", err)
	}
	changed := func(content string) {
		fetch, err := s.fetcherOf(content)
		if err != nil {
			missed(err)
			return
		}
		s.mu.Lock()
		s.account.file = ""
		s.mu.Unlock()
		s.o.Log.Info("the key file has changed: its key is used from now on", "path", s.o.CredentialsFile)
		s.bearer.use(fetch)
	}
	watchFile(ctx, s.o.CredentialsFile, s.o.Credentials, changed, missed)
}

// tokenNews logs that tokens can't be fetched, and that they can again.
func (s *Session) tokenNews(news string, cause error) {
	switch {
	case cause == nil:
		s.o.Log.Info("access tokens can be fetched again")
	case fatal(cause):
		s.said.Log(s.o.Log.Error, news+": nothing is sent", "err", cause)
	default:
		s.said.Log(s.o.Log.Warn, news+"; it is asked for again", "err", cause)
	}
}
