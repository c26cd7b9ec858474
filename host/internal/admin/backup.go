package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// LeastRate is the slowest rate of a backup, in bytes a second. During a backup the
// ledger can't free the space of deleted records.
const LeastRate = 1 << 20

// DefaultRate leaves enough of the disk's speed for the acks.
const DefaultRate = 16 << 20

// Verified is the result of a check of the whole ledger.
type Verified struct {
	Sound    bool     `json:"sound"`
	Problems []string `json:"problems"`
	Commit   uint64   `json:"commit"`  // the last one that was checked
	Records  uint64   `json:"records"` // in the tables
	Commits  uint64   `json:"commits"` // in the journal
	Took     float64  `json:"took_seconds"`
}

// backup answers with a file. After its first byte an error can only cut it off. The
// reader notices, because the file's end is missing.
func (a api) backup(w http.ResponseWriter, r *http.Request) {
	perSecond := int64(DefaultRate)
	if given := r.URL.Query().Get("rate"); given != "" {
		n, err := strconv.ParseInt(given, 10, 64)
		if err != nil || n != 0 && n < LeastRate {
			fail(w, http.StatusBadRequest, fmt.Errorf("rate %q: want bytes a second, at least %d, or 0 for no limit", given, LeastRate))
			return
		}
		perSecond = n
	}
	out := &download{w: w}
	switch err := a.Backup(r.Context(), out, perSecond); {
	case err == nil:
	case !out.begun:
		a.failed(w, r, err)
	default:
		if r.Context().Err() == nil {
			a.log.Error("backup failed after it began", "err", err)
		}
		panic(http.ErrAbortHandler) // this is how net/http cuts an answer off
	}
}

// download is the body of an answer. Each piece of it has its own time limit.
type download struct {
	w     http.ResponseWriter
	begun bool
}

func (d *download) Write(p []byte) (int, error) {
	if !d.begun {
		d.begun = true
		d.w.Header().Set("Content-Type", "application/octet-stream")
	}
	writeWithin(d.w, requestLimit)
	return d.w.Write(p)
}

func (a api) verify(w http.ResponseWriter, r *http.Request) {
	if !a.crowd.verifying.TryLock() { // each reads the whole ledger
		fail(w, http.StatusConflict, errors.New("the ledger is being verified already: wait for that"))
		return
	}
	defer a.crowd.verifying.Unlock()
	v, err := a.Verify(r.Context())
	v.Problems = notNull(v.Problems)
	a.answer(w, r, v, err)
}

// silence is how long a host may send nothing while it writes a backup.
const silence = time.Minute

// Backup asks for a backup at perSecond bytes a second; 0 means no limit. The end of what comes says
// whether it is complete, see package backup.
func (c *Client) Backup(ctx context.Context, perSecond int64) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	query := url.Values{"rate": {strconv.FormatInt(perSecond, 10)}}
	watch := time.AfterFunc(silence, func() { cancel(fmt.Errorf("the host at %s has sent nothing for %s", c.listen, silence)) })
	resp, err := c.long().send(ctx, http.MethodGet, "/v1/backup?"+query.Encode(), nil)
	if err == nil && resp.StatusCode/100 != 2 {
		err = c.decode(resp, nil)
		resp.Body.Close() //nolint:errcheck // it was read
	}
	if err != nil {
		watch.Stop()
		cancel(nil)
		return nil, err
	}
	return &upload{resp.Body, watch, cancel, func() error { return context.Cause(ctx) }}, nil
}

// upload is a backup that comes from the host.
type upload struct {
	body   io.ReadCloser
	watch  *time.Timer
	cancel context.CancelCauseFunc
	cause  func() error // why it was cut off; nil if it was not
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.body.Read(p)
	if n > 0 {
		u.watch.Reset(silence)
	}
	if err != nil && !errors.Is(err, io.EOF) && u.cause() != nil {
		err = u.cause()
	}
	return n, err
}

func (u *upload) Close() error {
	u.watch.Stop()
	u.cancel(nil)
	return u.body.Close()
}

// Verify asks the host to check its whole ledger. That took 1.3 s for half a million records on a busy machine.
func (c *Client) Verify(ctx context.Context) (Verified, error) {
	return ask[Verified](ctx, c.long(), http.MethodPost, "/v1/verify", struct{}{})
}

// long is c without a time limit, for answers that take long.
func (c *Client) long() *Client {
	with := *c
	with.http = &http.Client{Transport: c.http.Transport}
	return &with
}
