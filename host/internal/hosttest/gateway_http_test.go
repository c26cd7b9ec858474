package hosttest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"balhost/host/internal/frame"
)

// upload sends what waits over HTTP, in a few requests.
func (d *device) upload(ctx context.Context, calm bool) {
	client := d.client(d.rnd)
	defer client.CloseIdleConnections()
	for range 1 + d.rnd.IntN(4) {
		if d.faulty(d.rnd, 10) {
			d.forge(ctx, client)
		}
		d.mu.Lock()
		n := min(len(d.queue), 1+d.rnd.IntN(20))
		batch, receipts := slices.Clone(d.queue[:n]), slices.Clone(d.receipts)
		d.mu.Unlock()
		if n > 1 && d.faulty(d.rnd, 10) {
			slices.Reverse(batch)
			d.w.books.shuffled(batch)
		}
		var wait time.Duration
		switch twice := d.faulty(d.rnd, 15); {
		case n > 0 && twice: // at once
			var both sync.WaitGroup
			both.Go(func() { d.postUpstreams(ctx, client, batch, false) })
			wait = d.postUpstreams(ctx, client, batch, false)
			both.Wait()
		case n > 0:
			wait = d.postUpstreams(ctx, client, batch, d.faulty(d.rnd, 10))
		case len(receipts) > 0:
			wait = d.postReceipts(ctx, client, receipts)
		case calm:
			return
		default: // until there is something to send
			select {
			case <-d.kick:
			case <-time.After(upTo(d.rnd, 5*time.Second)):
			case <-ctx.Done():
			}
		}
		if wait > 0 && !calm {
			wait = min(wait, upTo(d.rnd, 5*time.Second)) // a device without patience
		}
		sleep(ctx, wait)
	}
}

// shuffled: these have no order any more.
func (b *books) shuffled(all []*upstream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, u := range all {
		u.shuffled = true
	}
}

// post makes one request. 0: nobody knows what became of it.
func (d *device) post(ctx context.Context, client *http.Client, path, token string, v any) (status int, wait time.Duration, body []byte) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://gateway.test"+path, bytes.NewReader(marshal(v)))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(r)
	if err != nil {
		return 0, time.Second, nil
	}
	defer response.Body.Close()
	if body, err = io.ReadAll(response.Body); err != nil {
		return 0, time.Second, nil
	}
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
	seen.add("gateway: HTTP "+response.Status, 1)
	return response.StatusCode, time.Duration(seconds) * time.Second, body
}

// postUpstreams sends a batch. stale: with a credential that has ended.
func (d *device) postUpstreams(ctx context.Context, client *http.Client, batch []*upstream, stale bool) time.Duration {
	var all frame.Batch
	known := make([]bool, len(batch))
	for i, u := range batch {
		all.Messages = append(all.Messages, u.message)
		known[i] = d.w.books.heard(u)
	}
	ends := time.Hour
	if stale {
		ends = expired
	}
	status, wait, body := d.post(ctx, client, frame.UpstreamPath, d.token(ends), all)
	if !d.accepted(status, stale, body) {
		return wait
	}
	var got frame.Results
	if err := json.Unmarshal(body, &got); err != nil || len(got.Results) != len(batch) {
		d.w.books.wrong("%d upstreams of %s are answered with %s", len(batch), d.from, body)
		return wait
	}
	for i, r := range got.Results {
		if u := batch[i]; r.MessageID != u.id || r.Status == frame.Refused {
			d.w.books.wrong("P1: %s of %s is answered with %+v", u.id, d.from, r)
		} else {
			d.stored(u, r.Status == frame.Duplicate, known[i])
		}
	}
	return 0
}

// accepted reports whether it is a 202. Any other must be one that time heals.
func (d *device) accepted(status int, stale bool, body []byte) bool {
	switch status {
	case http.StatusAccepted:
		if stale {
			d.w.books.wrong("P10: a credential of %s that has ended is taken", d.from)
		}
		return true
	case 0, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusRequestTimeout:
	case http.StatusUnauthorized:
		if !stale {
			d.w.books.wrong("a good credential of %s is refused: %s", d.from, body)
		}
	default:
		d.w.books.wrong("%s is answered with %d: %s", d.from, status, body)
	}
	return false
}

func (d *device) postReceipts(ctx context.Context, client *http.Client, receipts []frame.Receipt) time.Duration {
	status, wait, body := d.post(ctx, client, frame.ReceiptsPath, d.token(time.Hour), frame.Receipts{Receipts: receipts})
	if !d.accepted(status, false, body) {
		return wait
	}
	var got frame.Results
	if err := json.Unmarshal(body, &got); err != nil || len(got.Results) != len(receipts) {
		d.w.books.wrong("%d receipts of %s are answered with %s", len(receipts), d.from, body)
		return wait
	}
	for i, r := range got.Results {
		d.proved(receipts[i], r.Status != frame.Refused, r.Code)
	}
	return 0
}

// forge sends in another device's name.
func (d *device) forge(ctx context.Context, client *http.Client) {
	other := frame.Message{MessageID: "forged", From: d.from + "x", Category: "com.alpha", Data: marshal(map[string]string{"n": "0"})}
	status, _, body := d.post(ctx, client, frame.UpstreamPath, d.token(time.Hour), other)
	switch status {
	case http.StatusAccepted:
		d.w.books.wrong("P10: %s sends as %s: %s", d.from, other.From, body)
	case http.StatusForbidden:
		seen.add("gateway: forged, refused", 1)
	}
}
