package page

import (
	"bytes"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/feed"
	"balhost/host/internal/plain"
)

// How much of the live tail a page gets: enough to see, and not more than a person and a
// browser can follow. balhost tail has all.
const (
	tailEvery = 250 * time.Millisecond // between two writes
	tailRows  = 25                     // in one of them
	tailAlive = 15 * time.Second
)

func (p *Pages) tailForm(w http.ResponseWriter, r *http.Request) {
	p.show(w, "tail", p.view(r, "Live tail", "tail"))
}

// Steps is where the rows of the live tail come from, with the filter of this page.
func (v view) Steps() string { return "/tail/steps?" + v.request.URL.Query().Encode() }

// steps streams the rows of the live tail, the newest first, as HTML.
func (p *Pages) steps(s admin.Stream, r *http.Request) {
	row := p.views["tail"].Lookup("step")
	query := r.URL.Query()
	q := admin.TailQuery{ID: query.Get("id"), Device: query.Get("device"), Category: query.Get("category"), Plugin: query.Get("plugin"), Session: query.Get("session"), Text: query.Get("text")}
	if kind := query.Get("kind"); slices.Contains(feed.Kinds, kind) {
		q.Kinds = []string{kind}
	}
	if what := feed.What(query.Get("what")); slices.Contains(feed.Whats, what) {
		q.What = []feed.What{what}
	} else if what == "trouble" {
		q.What = grave
	}
	reading, err := p.Tail(q)
	if err != nil {
		s.HTML(rendered(row, tailRow{Note: err.Error(), Grade: "bad"}))
		_ = s.Flush() // the reader may have gone
		return
	}
	defer reading.Close()
	s.HTML(rendered(row, tailRow{Note: "from here on", Grade: "idle"}))
	tick, alive := time.NewTicker(tailEvery), time.NewTicker(tailAlive)
	defer tick.Stop()
	defer alive.Stop()
	for s.Flush() == nil {
		select {
		case <-tick.C:
			if html := batch(row, reading); html != nil {
				s.HTML(html)
			}
		case <-alive.C:
			s.Alive()
		case <-r.Context().Done():
			return
		case <-s.Ending():
			return
		}
	}
}

// grave are the steps that a person who looks for trouble wants to see.
var grave = []feed.What{feed.Unusable, feed.Retried, feed.Dead, feed.Postponed, feed.Failed, feed.Expired, feed.Crashed, feed.Refused, feed.Draining, feed.Lost}

// tailRow is one row of the live tail: a step, or a note.
type tailRow struct {
	feed.Step
	Note  string
	Grade string // of the mark
}

// batch is what has happened since the last one, the newest first; nil: nothing. What is
// more than a person can see is counted.
func batch(row *template.Template, reading admin.Tailing) []byte {
	steps, skipped := reading.Take()
	if more := len(steps) - tailRows; more > 0 {
		steps, skipped = steps[:tailRows], skipped+uint64(more)
	}
	var html []byte
	if skipped > 0 {
		html = append(html, rendered(row, tailRow{Note: grouped(int(skipped)) + " more, too fast to show: narrow the filter, or use balhost tail", Grade: "idle"})...)
	}
	for _, s := range slices.Backward(steps) {
		s.Device = plain.Brief(s.Device)
		html = append(html, rendered(row, tailRow{Step: s, Grade: gradeOf(s.What)})...)
	}
	return html
}

// gradeOf is how grave it is that something happens.
func gradeOf(what feed.What) string {
	switch what {
	case feed.Handled, feed.Acked, feed.Started, feed.Connected:
		return "good"
	case feed.Retried, feed.Postponed, feed.Expired, feed.Draining, feed.Replaced:
		return "warn"
	case feed.Dead, feed.Failed, feed.Unusable, feed.Crashed, feed.Refused, feed.Lost:
		return "bad"
	case feed.Duplicate, feed.Canceled, feed.Deleted, feed.Returned:
		return "idle"
	}
	return "busy"
}

// rendered is a row on one line.
func rendered(row *template.Template, r tailRow) []byte {
	var html bytes.Buffer
	if err := row.Execute(&html, r); err != nil {
		return nil // the reader has gone, or the template is wrong, and a test shows it
	}
	return []byte(strings.ReplaceAll(html.String(), "\n", " "))
}

// Whats are what can happen, for a person to choose from.
func (v view) Whats() []feed.What { return feed.Whats }

// Kinds are the kinds of what it happens to.
func (v view) Kinds() []string { return feed.Kinds }
