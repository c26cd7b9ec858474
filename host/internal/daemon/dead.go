package daemon

import (
	"slices"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
)

func (h *host) dead(q admin.DeadQuery) (page admin.DeadPage, err error) {
	page.Dead, page.Next, err = h.ledger.DeadOf(q.DeadFilter, q.After, q.Limit)
	labels := h.labels()
	for i := range page.Dead {
		page.Dead[i].Session = labels.Name(page.Dead[i].Session)
	}
	return page, err
}

func (h *host) deadLetter(id string) (entry.DeadLetter, error) {
	letter, err := h.ledger.DeadLetter(id)
	letter.Session = h.labels().Name(letter.Session)
	return letter, err
}

func (h *host) exportDead(q admin.DeadQuery, most int) (page admin.ExportPage, err error) {
	page.Letters, page.Next, err = h.ledger.Export(q.DeadFilter, q.After, q.Limit, most)
	labels := h.labels()
	for i := range page.Letters {
		page.Letters[i].Session = labels.Name(page.Letters[i].SenderID)
	}
	return page, err
}

// importDead leaves each letter with the sender that it has: sessions may have other names
// here than where it was exported.
func (h *host) importDead(o admin.ImportOrder) (admin.Imported, error) {
	did, err := h.ledger.Import(entry.Import{Letters: o.Letters, Check: o.Check, SkipWrong: o.SkipBad})
	out := admin.Imported{Done: did.Done, Same: did.Same, Bad: did.Wrong}
	labels := h.labels()
	for _, x := range o.Letters {
		here := slices.ContainsFunc(labels, func(s entry.Sender) bool { return s.ID == x.SenderID })
		if !here && x.SenderID != "" && !slices.Contains(out.Strange, x.SenderID) {
			out.Strange = append(out.Strange, x.SenderID)
		}
	}
	return out, err
}
