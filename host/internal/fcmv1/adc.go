package fcmv1

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

// adcFetcher fetches tokens by the platform's own credentials: the file that
// GOOGLE_APPLICATION_CREDENTIALS names, gcloud's, or the metadata server. The library
// takes no context for a fetch, and may hang for good. So each fetch has a goroutine,
// and the next one begins only when that has ended. Credentials are looked up for each
// fetch: a cached token may be the one that FCM refuses, and the file may have changed.
// Spec: fcm-v1-and-gateway.md A11.
func adcFetcher(client *http.Client) fetcher {
	type result struct {
		token *oauth2.Token
		err   error
	}
	busy := make(chan struct{}, 1)
	return func(ctx context.Context) (access, error) {
		select {
		case busy <- struct{}{}:
		case <-ctx.Done():
			return access{}, errors.New("ask for application default credentials: the last try still hangs")
		}
		now := time.Now()
		done := make(chan result, 1)
		go func() { //house:go the library can't be cancelled; busy keeps it to one
			defer func() { <-busy }()
			token, err := adc(context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, client))
			done <- result{token, err}
		}()
		select {
		case r := <-done:
			if r.err != nil {
				return access{}, fmt.Errorf("ask for application default credentials: %w", hush(r.err))
			}
			return access{token: r.token.AccessToken, fetched: now, expires: r.token.Expiry}, nil
		case <-ctx.Done():
			return access{}, fmt.Errorf("ask for application default credentials: %w", context.Cause(ctx))
		}
	}
}

func adc(ctx context.Context) (*oauth2.Token, error) {
	credentials, err := google.FindDefaultCredentialsWithParams(ctx, google.CredentialsParams{Scopes: []string{scope}})
	if err != nil {
		return nil, err
	}
	return credentials.TokenSource.Token()
}

// hush is an error without the body of the answer, which may repeat what was sent.
func hush(err error) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return errors.New(text(err.Error()))
	}
	answer := refused.Response
	if answer == nil {
		answer = &http.Response{}
	}
	_, err = readToken(answer, refused.Body, time.Now())
	if r, ok := err.(*refusal); ok {
		r.from = "the token endpoint of these credentials"
		return r
	}
	return errors.New("its answer can't be read")
}
