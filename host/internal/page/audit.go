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

// ofStatus is the mark of an HTTP answer.
func ofStatus(status int) mark {
	switch {
	case status == 0 || status < 400:
		return mark{"good", "done"}
	case status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusTooManyRequests:
		return mark{"bad", "not allowed"}
	}
	return mark{"warn", "not done"}
}
