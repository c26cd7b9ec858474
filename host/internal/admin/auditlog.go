package admin

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"balhost/host/internal/admin/audit"
)

// Audited is one thing that somebody did to the host, or was not allowed to do.
type Audited = audit.Entry

// AuditQuery says which entries of the audit log to give.
type AuditQuery struct {
	Since, Until time.Time // zero: no bound
	Who, Path    string    // a part of these; "": any
	Limit        int       // the newest ones
}

// AuditPage is a part of the audit log, the oldest entry first.
type AuditPage struct {
	Entries []Audited `json:"entries"`
	More    bool      `json:"more"` // older ones fit too: ask with an earlier "until"
}

// auditParameters are those of the audit log.
func auditParameters() []parameter {
	return []parameter{
		moment("since", "not before this"), moment("until", "before this"),
		text("who", "only where this is a part of who it was"), text("path", "only where this is a part of the path"), limitParameter,
	}
}

func (a api) audits(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	limit, err := limitOf(query)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	q := audit.Query{Who: query.Get("who"), Path: query.Get("path"), Limit: limit}
	q.Since, _ = time.Parse(time.RFC3339, query.Get("since")) // the parameters were checked
	q.Until, _ = time.Parse(time.RFC3339, query.Get("until"))
	entries, more, err := a.audit.Read(q)
	a.answer(w, r, AuditPage{Entries: notNull(entries), More: more}, err)
}

// Audit gives the newest entries of the audit log that fit.
func (c *Client) Audit(ctx context.Context, q AuditQuery) (AuditPage, error) {
	query := url.Values{"who": {q.Who}, "path": {q.Path}, "limit": {strconv.Itoa(q.Limit)}}
	for name, at := range map[string]time.Time{"since": q.Since, "until": q.Until} {
		if !at.IsZero() {
			query.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	return ask[AuditPage](ctx, c, http.MethodGet, "/v1/audit?"+query.Encode(), nil)
}

// Record puts what was done without the API into the audit log, such as by a signal.
func (s *Server) Record(who, did string, err error) {
	e := audit.Entry{At: time.Now(), Who: who, Did: did}
	if err != nil {
		e.Did += ": " + err.Error()
	}
	s.api.audit.Add(e)
}
