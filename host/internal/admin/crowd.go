package admin

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// How many questions of one caller are answered at a time. Others of the same caller wait:
// who may only read can't keep the host busy with searches.
const (
	readersAtOnce = 2
	othersAtOnce  = 8
	crowdTime     = 10 * time.Second // that a question waits
	maxTails      = 8                // live streams of one caller; the host has twice as many
)

// errCrowd is the answer to a question that waited in vain.
var errCrowd = errors.New("too many questions with your token are being answered: ask fewer at a time, and try again")

// errTails is the answer to who has enough of the live streams.
var errTails = errors.New("your token has 8 live streams open, which is the limit: end one of them first")

// crowd lets so many questions of each caller in at a time.
type crowd struct {
	verifying sync.Mutex // held while the ledger is verified

	mu sync.Mutex // guards of
	of map[string]*gate
}

// gate is one caller's.
type gate struct {
	places chan struct{}
	users  int // questions that are in, or wait
}

// enter waits for a place. The caller calls leave, unless there is an error.
func (c *crowd) enter(ctx context.Context, who string, most int) (leave func(), err error) {
	c.mu.Lock()
	if c.of == nil {
		c.of = map[string]*gate{}
	}
	g := c.of[who]
	if g == nil {
		g = &gate{places: make(chan struct{}, most)}
		c.of[who] = g
	}
	g.users++
	c.mu.Unlock()
	out := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if g.users--; g.users == 0 {
			delete(c.of, who)
		}
	}
	limit := time.NewTimer(crowdTime)
	defer limit.Stop()
	select {
	case g.places <- struct{}{}:
		return func() { <-g.places; out() }, nil
	case <-limit.C:
		out()
		return nil, errCrowd
	case <-ctx.Done():
		out()
		return nil, context.Cause(ctx)
	}
}

// question reports whether r is one that others of the same caller wait for: it is answered
// at once, and costs.
func (to route) question(r *http.Request) bool {
	return (to.role == Read || to.role == Operate) && r.Method != http.MethodPost && to.media != eventStream && !to.stream
}

// asked has next answer a question when it is its caller's turn.
func (a api) asked(w http.ResponseWriter, r *http.Request, next http.Handler) {
	c := callerOf(r)
	most := othersAtOnce
	if c.role < Operate {
		most = readersAtOnce
	}
	leave, err := a.crowd.enter(r.Context(), c.who+"\n"+c.role.String(), most)
	if err != nil {
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusTooManyRequests, err)
		return
	}
	defer leave()
	next.ServeHTTP(w, r)
}
