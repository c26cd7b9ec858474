package fcmv1

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"balhost/host/internal/backoff"
)

// access is one access token.
type access struct {
	token            string
	fetched, expires time.Time
	number           int // counts up; see bearer.drop
}

// early is how long before its end a token is replaced, if it lives long enough.
const early = 5 * time.Minute

// renewal is when a token is to be replaced.
func (a access) renewal() time.Time {
	return a.expires.Add(-min(early, a.expires.Sub(a.fetched)/5))
}

// fetcher fetches an access token.
type fetcher func(ctx context.Context) (access, error)

// bearer has the session's access token. One goroutine, [bearer.run], fetches tokens,
// so that there is one fetch for any number of requests that wait. A request waits
// only when there is no token at all.
type bearer struct {
	limit  time.Duration                  // of one fetch
	again  backoff.Policy                 // after a fetch that failed
	wake   chan struct{}                  // hint for run: due has changed
	notify func(news string, cause error) // of a fetch that failed, and of the first that works again

	mu      sync.Mutex // guards what follows
	fetch   fetcher
	stop    context.CancelFunc // ends the fetch that runs; nil: none does
	now     access             // zero: there is none
	due     time.Time          // of the next fetch
	err     error              // why the last fetch failed; nil: it did not
	failed  int                // fetches in a row
	fetches int                // that worked
	misses  int                // that failed
	changed chan struct{}      // closed at the next token or failure
}

// leastPause is between two fetches, even if each token is refused at once.
const leastPause = time.Second

func newBearer(fetch fetcher, notify func(string, error)) *bearer {
	return &bearer{
		fetch: fetch, notify: notify, limit: 20 * time.Second, again: backoff.Policy{Min: time.Second, Max: time.Minute},
		wake: make(chan struct{}, 1), changed: make(chan struct{}),
	}
}

// run fetches tokens when they are due, until ctx ends.
func (b *bearer) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		b.mu.Lock()
		wait := time.Until(b.due)
		b.mu.Unlock()
		if wait <= 0 {
			b.renew(ctx)
			if ctx.Err() == nil {
				continue
			}
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-b.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// renew fetches one token.
func (b *bearer) renew(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	b.mu.Lock()
	fetch := b.fetch
	b.stop = cancel
	b.mu.Unlock()
	a, err := fetch(limited)
	if err == nil && !a.expires.After(time.Now()) {
		err = errors.New("the access token that was fetched has expired already")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	replaced := b.stop == nil // by use: the next fetch is due
	b.stop = nil
	if replaced || ctx.Err() != nil {
		return
	}
	b.took(a, err)
	close(b.changed)
	b.changed = make(chan struct{})
}

// took takes over what a fetch has brought. The caller holds mu.
func (b *bearer) took(a access, err error) {
	now := time.Now()
	if err == nil {
		b.fetches++
		a.number = b.fetches
		if b.err != nil {
			b.notify("", nil)
		}
		b.now, b.err, b.failed = a, nil, 0
		b.due = later(a.renewal(), now.Add(leastPause))
		return
	}
	b.misses++
	b.failed++
	b.err = err
	policy := b.again
	if fatal(err) { // only a person can help, and then calls hurry or use
		policy = backoff.Policy{Min: time.Minute, Max: 5 * time.Minute}
	}
	b.due = now.Add(policy.DelayAtLeast(b.failed, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))))
	b.notify("no access token", err)
}

// fatal reports whether a person has to correct something before there is a token.
func fatal(err error) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.fatal()
}

// get waits for a token. Without one it fails when ctx ends.
func (b *bearer) get(ctx context.Context) (access, error) {
	for {
		a, changed := b.look()
		if a.token != "" {
			return a, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			b.mu.Lock()
			defer b.mu.Unlock()
			return access{}, errors.Join(context.Cause(ctx), b.err)
		}
	}
}

// tried waits for a token, or for the reason why there is none.
func (b *bearer) tried(ctx context.Context) error {
	for {
		a, changed := b.look()
		if a.token != "" {
			return nil
		}
		if _, err := b.state(); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// look is the token of now, zero if there is none, and what is closed when that changes.
func (b *bearer) look() (access, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now.token != "" && !b.now.expires.After(time.Now()) {
		b.now = access{}
	}
	return b.now, b.changed
}

// drop says that FCM refuses a. Whoever else used it drops nothing more.
func (b *bearer) drop(a access) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now.number != a.number {
		return
	}
	b.now = access{}
	b.due = later(time.Now(), a.fetched.Add(leastPause))
	hint(b.wake)
}

// use fetches tokens by another key from now on. The token of now serves until there
// is the next one.
func (b *bearer) use(fetch fetcher) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fetch, b.failed, b.due = fetch, 0, time.Now()
	if b.stop != nil {
		b.stop()
		b.stop = nil
	}
	hint(b.wake)
}

// hurry fetches at once if fetching fails: a person says that what was wrong is mended.
func (b *bearer) hurry() (waited bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		return false
	}
	b.failed, b.due = 0, time.Now()
	hint(b.wake)
	return true
}

// state is for people: until when there is a token, and why fetching fails.
func (b *bearer) state() (until time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now.expires, b.err
}

// counts are how many fetches worked, and how many failed.
func (b *bearer) counts() (fetches, misses int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fetches, b.misses
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
