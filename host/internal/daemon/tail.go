package daemon

import (
	"strings"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
)

// tail begins to read what happens.
func (h *host) tail(q admin.TailQuery) (admin.Tailing, error) {
	f := feed.Filter{
		What: q.What, Kinds: q.Kinds, ID: q.ID, Device: q.Device, Category: q.Category, Plugin: q.Plugin, Text: q.Text, Bodies: q.Bodies,
	}
	if q.Session != "" {
		id, ok := h.labels().ID(q.Session)
		if !ok {
			return nil, entry.NoSuch("there is no session %q; there are %s", q.Session, strings.Join(h.labels().Names(), ", "))
		}
		f.Session = id
	}
	r, err := h.feed.Read(f)
	if err != nil {
		return nil, err
	}
	return tailing{r, h.labels}, nil
}

// tailing is a reading whose sessions have the names that the config gives them.
type tailing struct {
	*feed.Reader
	senders func() entry.Senders
}

func (t tailing) Take() (steps []feed.Step, skipped uint64) {
	steps, skipped = t.Reader.Take()
	labels := t.senders()
	for i := range steps {
		if id := steps[i].Session; id != "" {
			steps[i].Session = labels.Name(id)
		}
	}
	return steps, skipped
}
