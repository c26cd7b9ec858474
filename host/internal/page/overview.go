package page

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/plain"
	"balhost/host/internal/status"
	"balhost/host/internal/tally"
	say "balhost/host/internal/told"
)

// trouble is one thing that is wrong, or that a person should look at.
type trouble struct {
	Grade string // bad, warn, idle
	Text  string // with what to do
	Link  string // where that is done; "": nowhere here
	To    string // what the link says
}

// recently is for how long the overview speaks of a failure that has not come again.
const recently = time.Hour

func (p *Pages) overview(w http.ResponseWriter, r *http.Request) {
	v := p.view(r, "Overview", "overview")
	if v.Host.Ledger.Dead > 0 {
		v.Page = p.letters.now()
	}
	p.show(w, "overview", v)
}

// Troubles are all things that are wrong, the worst first.
func (v view) Troubles() []trouble {
	all := append(v.besides(), v.ofLetters()...)
	slices.SortStableFunc(all, func(a, b trouble) int { return cmp.Compare(grades[a.Grade], grades[b.Grade]) })
	return all
}

var grades = map[string]int{"bad": 0, "warn": 1, "idle": 2}

// besides are the troubles besides dead letters.
func (v view) besides() (all []trouble) {
	s := v.Host
	for _, text := range s.Reasons {
		link, to := v.about(text)
		all = append(all, trouble{"bad", text, link, to})
	}
	for _, text := range s.Warnings {
		link, to := v.about(text)
		all = append(all, trouble{"warn", text, link, to})
	}
	for _, p := range s.Plugins {
		all = append(all, ofPlugins(p, s.Now)...)
	}
	for _, one := range s.Sessions {
		all = append(all, ofSessions(one, s.Now)...)
	}
	for _, h := range s.Holding[:min(len(s.Holding), 5)] {
		what := fmt.Sprintf("of category %q", h.Category)
		if h.Category == "" {
			what = "without a category"
		}
		all = append(all, trouble{"warn", fmt.Sprintf("%s for a plugin, the first for %s: install a plugin that claims it, or one that claims \"*\" and rejects what you don't want",
			say.Count(h.Pending, "upstream "+what+" waits", "upstreams "+what+" wait"), say.Ago(s.Now, h.Since)), "/messages?" + url.Values{"category": {h.Category}, "state": {"pending"}}.Encode(), "messages"})
	}
	if more := max(len(s.Holding)-5, 0) + s.HoldingMore.Categories; more > 0 {
		all = append(all, trouble{"warn", fmt.Sprintf("upstreams of %s wait for a plugin", say.Count(more, "more category", "more categories")), "/plugins", "plugins"})
	}
	if l := s.Log; l != nil && l.Dropped+l.Failed > 0 {
		all = append(all, trouble{"warn", fmt.Sprintf("%d lines of the host's log were dropped, and %d could not be written: look at what reads it", l.Dropped, l.Failed), "", ""})
	}
	return all
}

// about leads to the plugin or the session that a sentence of the host begins with.
func (v view) about(text string) (link, to string) {
	for _, p := range v.Host.Plugins {
		if strings.HasPrefix(text, fmt.Sprintf("plugin %q", p.Name)) {
			return "/plugins/" + url.PathEscape(p.Name), p.Name
		}
	}
	for _, s := range v.Host.Sessions {
		if s.Name != "" && strings.HasPrefix(text, fmt.Sprintf("session %q", s.Name)) {
			return "/sessions#s-" + s.SenderID, s.Name
		}
	}
	return "", ""
}

// Look is how many things a person should look at, besides why the host is not ready. Dead
// letters are one of them, however many there are.
func (v view) Look() (n int) {
	for _, t := range v.besides() {
		if t.Grade == "warn" {
			n++
		}
	}
	if v.Host.Ledger.Dead > 0 {
		n++
	}
	return n
}

// ofPlugins is what a plugin adds to the reasons and warnings of the host.
func ofPlugins(p admin.Plugin, now time.Time) (all []trouble) {
	at, name := "/plugins/"+url.PathEscape(p.Name), fmt.Sprintf("plugin %q", p.Name)
	if f := p.Refusal; f != nil {
		all = append(all, trouble{"warn", fmt.Sprintf("%s: new content was refused: %s", name, f.Reason), at, p.Name})
	} else if m := ofPlugin(p); m.Grade == "bad" && len(p.Previous) == 0 { // one that served before is a reason of the host's
		all = append(all, trouble{"warn", fmt.Sprintf("%s: %s", name, cmp.Or(p.Reason, m.Word)), at, p.Name})
	}
	if p.State == "absent" && p.Pending > 0 {
		all = append(all, trouble{"warn", fmt.Sprintf("%s: its file is gone, and %s", name, say.Count(p.Pending, "event waits for it", "events wait for it")), at, p.Name})
	}
	if p.Suspects > 0 {
		all = append(all, trouble{"warn", fmt.Sprintf("%s: %s in flight at too many crashes, and are tried alone", name, say.Count(p.Suspects, "event was", "events were")), at, p.Name})
	}
	if p.Waiting > 0 {
		all = append(all, trouble{"warn", fmt.Sprintf("%s: %s, each with its lane; the first in %s", name,
			say.Count(p.Waiting, "event waits for its next attempt", "events wait for their next attempt"), say.Short(p.NextTry.Sub(now))), "/retries?" + url.Values{"plugin": {p.Name}}.Encode(), "retries"})
	}
	for _, t := range recent(p.Troubles, now) {
		if t.Again == 0 {
			continue // dead letters are told of by themselves
		}
		t := failure(p.Name, t, now)
		t.Text = name + ": " + t.Text
		all = append(all, t)
	}
	return all
}

// recent are the troubles that came again lately.
func recent(all []status.Trouble, now time.Time) []status.Trouble {
	return slices.DeleteFunc(slices.Clone(all), func(t status.Trouble) bool { return now.Sub(t.Last) >= recently })
}

// failure is why attempts of a plugin failed, with what finds the messages.
func failure(plugin string, t status.Trouble, now time.Time) trouble {
	return trouble{"warn", say.Attempts(t, now), found(url.Values{"plugin": {plugin}}, t), "messages"}
}

// failuresOf is each reason why a plugin's events were not handled.
func failuresOf(p admin.Plugin, now time.Time) (all []trouble) {
	for _, t := range p.Troubles {
		all = append(all, failure(p.Name, t, now))
	}
	return all
}

// found leads to the messages that have a trouble.
func found(query url.Values, t status.Trouble) string {
	if text := cmp.Or(t.Code, tally.Common(t.Reason)); text != "" {
		query.Set("text", text)
	}
	return "/messages?" + query.Encode()
}

// ofSessions is what a session adds: what it sends again, and what was not taken.
func ofSessions(s status.Session, now time.Time) (all []trouble) {
	name := fmt.Sprintf("session %q", cmp.Or(s.Name, s.SenderID))
	if again := s.Later - s.Early; again > 0 {
		all = append(all, trouble{"warn", fmt.Sprintf("%s: %s, the first in %s", name, say.Count(again, "downstream waits to be sent again", "downstreams wait to be sent again"), say.Short(s.NextTry.Sub(now))),
			"/messages?" + query(s, url.Values{"state": {"retrying"}}).Encode(), "downstreams"})
	}
	for _, t := range recent(s.Troubles, now) {
		t := unsent(s, t, now)
		t.Text = name + ": " + t.Text
		all = append(all, t)
	}
	return all
}

// unsent is why downstreams of a session were not taken, with what finds them.
func unsent(s status.Session, t status.Trouble, now time.Time) trouble {
	grade := "warn"
	if t.Gone {
		grade = "idle" // routine: its plugin was told
	}
	return trouble{grade, say.Sends(t, now), found(query(s, url.Values{}), t), "downstreams"}
}

// sendsOf is each reason why a session's downstreams were not taken.
func sendsOf(s status.Session, now time.Time) (all []trouble) {
	for _, t := range s.Troubles {
		all = append(all, unsent(s, t, now))
	}
	return all
}

// query asks for downstreams of a session.
func query(s status.Session, q url.Values) url.Values {
	q.Set("kind", admin.Downstream)
	if s.Name != "" {
		q.Set("session", s.Name)
	}
	return q
}

// pile are dead letters of one plugin with one reason.
type pile struct {
	Letters []entry.DeadLetter // without their payloads
}

// How many dead letters the overview looks at, and how many piles it names.
const (
	mostLetters = 200
	mostPiles   = 4
)

// piles are the dead letters that there are, the largest pile first.
func (p *Pages) piles() []pile {
	page, err := p.Dead(admin.DeadQuery{Limit: mostLetters})
	if err != nil {
		return nil // the number alone is told
	}
	var all []pile
	at := map[[3]string]int{}
	for _, letter := range page.Dead {
		key := [3]string{letter.Plugin, letter.Session, cmp.Or(tally.Common(letter.Reason), letter.Reason)}
		i, known := at[key]
		if !known {
			i = len(all)
			at[key], all = i, append(all, pile{})
		}
		letter.Raw, letter.RawText, letter.RawBytes = nil, "", nil
		all[i].Letters = append(all[i].Letters, letter)
	}
	slices.SortStableFunc(all, func(a, b pile) int { return cmp.Compare(len(b.Letters), len(a.Letters)) })
	return all
}

// ofLetters says whose dead letters there are, and why.
func (v view) ofLetters() (all []trouble) {
	left := v.Host.Ledger.Dead
	piles, _ := v.Page.([]pile)
	for _, one := range piles[:min(len(piles), mostPiles)] {
		letter, n := one.Letters[0], len(one.Letters)
		of := fmt.Sprintf("session %q", letter.Session)
		query := url.Values{}
		if letter.Plugin != "" {
			of = fmt.Sprintf("plugin %q", letter.Plugin)
			query.Set("plugin", letter.Plugin)
		}
		query.Set("reason", tally.Common(letter.Reason))
		all = append(all, trouble{"warn", fmt.Sprintf("%s of %s, %s: %s", say.Count(n, "dead letter", "dead letters"), of, one.devices(), letter.Reason), "/dead?" + query.Encode(), "dead letters"})
		left -= n
	}
	if left > 0 && len(all) > 0 {
		all = append(all, trouble{"warn", say.Count(left, "more dead letter", "more dead letters"), "/dead", "dead letters"})
	} else if left > 0 {
		all = append(all, trouble{"warn", say.Count(left, "dead letter", "dead letters"), "/dead", "dead letters"})
	}
	return all
}

// devices names those of a pile.
func (p pile) devices() string {
	var all []string
	for _, letter := range p.Letters {
		if name := plain.Brief(letter.From); name != "" && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	const named = 2
	switch n := len(all); {
	case n == 0:
		return "of no device"
	case n == 1:
		return "device " + all[0]
	case n <= named:
		return "devices " + all[0] + " and " + all[1]
	default:
		return fmt.Sprintf("devices %s, %s and %d more", all[0], all[1], n-named)
	}
}
