package page

import (
	"net/http"
	"slices"

	"balhost/host/internal/admin"
)

// audit shows who did what, the newest first.
func (p *Pages) audit(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	since, err := moment(query.Get("since"))
	var page admin.AuditPage
	if err == nil {
		page, err = admin.AuditOf(r, admin.AuditQuery{Since: since, Who: query.Get("who"), Path: query.Get("path"), Limit: rowsOfPage})
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	slices.Reverse(page.Entries)
	v := p.view(r, "Audit log", "audit")
	v.Page = page
	p.show(w, "audit", v)
}

// ofEntry is the mark of what came of an order.
func ofEntry(e admin.Audited) mark {
	switch {
	case e.Phase != "":
		return mark{"warn", string(e.Phase)}
	case e.Status < 400:
		return mark{"good", "done"}
	case e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden || e.Status == http.StatusTooManyRequests:
		return mark{"bad", "not allowed"}
	}
	return mark{"warn", "not done"}
}
