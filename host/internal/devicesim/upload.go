package devicesim

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"balhost/host/internal/frame"
)

// ErrDenied means that the gateway refuses even a new credential, or what the device says
// with it. Time does not heal that.
var ErrDenied = errors.New("the gateway refuses this device")

// ErrUntrusted means that the gateway's certificate is not one that the device trusts.
var ErrUntrusted = errors.New("the gateway's certificate is not trusted")

// untrusted is ErrUntrusted for an error of a connection that has failed for this; else nil.
func untrusted(err error) error {
	if bad, is := errors.AsType[*tls.CertificateVerificationError](err); is {
		return fmt.Errorf("%w: %w", ErrUntrusted, bad.Err)
	}
	return nil
}

// Upload sends what is in the queue, now and later, over HTTP, until ctx ends.
func (d *Device) Upload(ctx context.Context) error {
	for ctx.Err() == nil {
		changed := d.hinted()
		if err := d.Flush(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return nil
}

// Flush sends what is in the queue over HTTP, and returns when it is empty: what was in it is stored,
// or refused, or has expired. The error is ctx's, ErrDenied or ErrUntrusted.
func (d *Device) Flush(ctx context.Context) error {
	if err := d.begin(ctx); err != nil {
		return err
	}
	defer d.end()
	for failures, denied := 0, 0; ; {
		queue, receipts := d.next()
		if len(queue) == 0 && len(receipts) == 0 {
			return nil
		}
		a, err := d.request(ctx, queue, receipts)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		switch {
		case err == nil && a.done():
			failures, denied = 0, 0
			continue
		case err == nil && a.status == http.StatusUnauthorized:
			if d.Forget(); denied > 0 {
				return fmt.Errorf("%w: %s", ErrDenied, a.text())
			}
			denied++
			continue
		case err == nil:
			err = errors.New(a.text())
		case untrusted(err) != nil:
			return untrusted(err)
		}
		failures++
		wait := max(a.retryAfter, d.delay(failures))
		d.tell("waiting", fmt.Sprintf("%s, %v", wait.Round(time.Millisecond), err))
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// begin waits until the device is in no other Connect, Upload or Flush.
func (d *Device) begin(ctx context.Context) error {
	select {
	case d.oneWay <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (d *Device) end() {
	<-d.oneWay
	d.http.CloseIdleConnections()
}

// delay is the wait after so many failures in a row.
func (d *Device) delay(failures int) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.opts.Retry.Delay(failures, d.rnd)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// answer is what the gateway says to one request.
type answer struct {
	status     int
	retryAfter time.Duration
	results    []frame.Result // of 202
	wrong      frame.Error    // of any other
}

func (a answer) text() string {
	return fmt.Sprintf("HTTP %d %s %s", a.status, cmp.Or(a.wrong.Code, http.StatusText(a.status)), a.wrong.Description)
}

// done reports whether the request must not come again.
func (a answer) done() bool {
	switch a.status {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return a.status >= 200 && a.status < 300 || a.status >= 400 && a.status < 500
}

// request sends the oldest upstreams, or the receipts if there are no upstreams, and takes
// what was answered out of the queue. An error means that nobody knows.
func (d *Device) request(ctx context.Context, queue []waiting, receipts []frame.Frame) (answer, error) {
	if len(queue) == 0 {
		return d.requestReceipts(ctx, receipts)
	}
	batch := queue[:min(len(queue), d.opts.Batch)]
	body, n := d.body(batch)
	batch = batch[:n]
	a, err := d.post(ctx, frame.UpstreamPath, body)
	if err != nil || !a.done() {
		return a, err
	}
	if a.status >= 400 {
		for _, m := range batch {
			d.failed(m.MessageID, codeOf(a.wrong.Code, a.status), a.text())
		}
		return a, nil
	}
	if len(a.results) != len(batch) {
		return a, fmt.Errorf("the gateway answered %d results to %d upstreams", len(a.results), len(batch))
	}
	for _, r := range a.results {
		switch r.Status {
		case frame.Stored, frame.Duplicate:
			d.sent(r.MessageID, r.Status == frame.Duplicate)
		case frame.Refused:
			d.failed(r.MessageID, codeOf(r.Code, 0), r.Code+": "+r.Description)
		}
	}
	return a, nil
}

// body is a request with as many of batch as fit into it.
func (d *Device) body(batch []waiting) (body []byte, n int) {
	now := time.Now()
	var messages []json.RawMessage
	size := 64
	for _, m := range batch {
		text, err := json.Marshal(m.message(now))
		if err != nil { // Send has marshalled it before
			panic("devicesim: " + err.Error())
		}
		if size += len(text) + 1; size > frame.MaxBody {
			break
		}
		messages = append(messages, text)
	}
	n = len(messages)
	if d.chance(d.opts.Faults.Reorder) {
		slices.Reverse(messages)
	}
	if n == 1 {
		return messages[0], 1
	}
	body, _ = json.Marshal(map[string]any{"messages": messages}) // all are JSON already
	return body, n
}

// requestReceipts sends receipts.
func (d *Device) requestReceipts(ctx context.Context, receipts []frame.Frame) (answer, error) {
	receipts = receipts[:min(len(receipts), d.opts.Batch)]
	var all frame.Receipts
	for _, r := range receipts {
		all.Receipts = append(all.Receipts, frame.Receipt{OriginalMessageID: r.Original, Status: r.Status, Timestamp: r.Timestamp, From: d.opts.From, Category: d.opts.Category})
	}
	body, _ := json.Marshal(all) // texts and numbers
	a, err := d.post(ctx, frame.ReceiptsPath, body)
	if err != nil || !a.done() {
		return a, err
	}
	for i, r := range receipts {
		d.told(r.Original, r.Status, a.status < 300 && (i >= len(a.results) || a.results[i].Status != frame.Refused))
	}
	return a, nil
}

// post makes one request; with Faults.Double perhaps two, one after the other.
func (d *Device) post(ctx context.Context, path string, body []byte) (a answer, err error) {
	if d.chance(d.opts.Faults.Double) {
		if a, err = d.postOnce(ctx, path, body); err != nil {
			return a, err
		}
	}
	return d.postOnce(ctx, path, body)
}

func (d *Device) postOnce(ctx context.Context, path string, body []byte) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.opts.Timeout)
	defer cancel()
	shown, err := d.credential(ctx)
	if err != nil {
		return a, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.opts.URL+path, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	r.Header.Set("Content-Type", "application/json")
	shown.show(r, body)
	d.count(func(c *Counts) { c.Requests++ })
	response, err := d.http.Do(r)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return a, err
	}
	a.status, a.retryAfter = response.StatusCode, retryAfter(response.Header.Get("Retry-After"), time.Now())
	if a.status >= 300 {
		json.Unmarshal(text, &a.wrong) // a proxy's answer may be anything
		return a, nil
	}
	var all frame.Results
	if err := json.Unmarshal(text, &all); err != nil {
		return a, fmt.Errorf("HTTP %d with a body that is not of the gateway", a.status)
	}
	a.results = all.Results
	return a, nil
}

// retryAfter reads the header: seconds or a date, at most an hour.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(text); err == nil {
		return min(max(0, time.Duration(n)*time.Second), time.Hour)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(0, at.Sub(now)), time.Hour)
}

// codeOf is the old SDK's code for one of the gateway's.
func codeOf(code string, status int) Code {
	switch {
	case code == frame.CodeTooBig || status == http.StatusRequestEntityTooLarge:
		return TooBig
	case code != "" || status == http.StatusBadRequest:
		return InvalidParameters
	}
	return Unknown
}
