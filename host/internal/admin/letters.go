package admin

import (
	"context"
	"fmt"
	"net/http"

	"balhost/host/internal/entry"
)

// Bounds of one request about exported letters. One letter always fits.
const (
	maxExport = 1 << 20  // about so many bytes of events in one answer
	maxImport = 16 << 20 // bytes of the body
)

// ExportPage is a part of the dead letters that were asked for, whole. Next is as that of
// [DeadPage].
type ExportPage struct {
	Letters []entry.Exported `json:"letters"`
	Next    string           `json:"next,omitempty"`
}

func (a api) exportDead(w http.ResponseWriter, r *http.Request) {
	page, err := a.ExportDead(deadQueryOf(r.URL.Query()), maxExport)
	page.Letters = notNull(page.Letters)
	a.answer(w, r, page, err)
}

// ImportOrder has letters as an export gave them.
type ImportOrder struct {
	Letters []entry.Exported `json:"letters"`
	Check   bool             `json:"check,omitempty"`    // import none; only say what would come of it
	SkipBad bool             `json:"skip_bad,omitempty"` // import the others though some can't be
}

// Imported says what came of an [ImportOrder].
type Imported struct {
	Done    int                 `json:"done"`
	Same    int                 `json:"same"`              // the host has them already
	Bad     []entry.WrongLetter `json:"bad,omitempty"`     // with one of these, and without skip_bad, none is imported
	Strange []string            `json:"strange,omitempty"` // sender ids of letters that no session of the config has
}

func (a api) importDead(w http.ResponseWriter, r *http.Request) {
	var o ImportOrder
	if !readUpTo(w, r, maxImport, &o) {
		return
	}
	if len(o.Letters) == 0 || len(o.Letters) > maxPage {
		fail(w, http.StatusBadRequest, fmt.Errorf(`give 1 to %d letters, as an export has them: {"letters": [{…}]}`, maxPage))
		return
	}
	did, err := a.ImportDead(o)
	if o.Check {
		a.didSome(r, 0, err, "checked %s for an import", several(len(o.Letters), "dead letter"))
	} else {
		a.didSome(r, did.Done, err, "imported %s", several(did.Done, "dead letter"))
	}
	a.answer(w, r, did, err)
}

// ExportDead gives one page of dead letters, whole.
func (c *Client) ExportDead(ctx context.Context, q DeadQuery) (ExportPage, error) {
	return ask[ExportPage](ctx, c, http.MethodGet, "/v1/dead/export?"+q.values().Encode(), nil)
}

// ImportDead makes up to 1,000 exported letters dead letters again.
func (c *Client) ImportDead(ctx context.Context, o ImportOrder) (Imported, error) {
	return ask[Imported](ctx, c, http.MethodPost, "/v1/dead/import", o)
}
