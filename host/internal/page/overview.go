package page

import (
	"cmp"
	"fmt"
	"net/http"

	"balhost/host/internal/admin"
	say "balhost/host/internal/told"
)

// trouble is one thing that is wrong, or that a person should look at.
type trouble struct {
	Grade string // bad, warn
	Text  string // with what to do
	Link  string // where that is done; "": nowhere here
	To    string // what the link says
}

func (p *Pages) overview(w http.ResponseWriter, r *http.Request) {
	v := p.view(r, "Overview", "overview")
	p.show(w, "overview", v)
}

// Troubles are all things that are wrong, the worst first.
func (v view) Troubles() (all []trouble) {
	s := v.Host
	for _, text := range s.Reasons {
		all = append(all, trouble{Grade: "bad", Text: text})
	}
	for _, text := range s.Warnings {
		all = append(all, trouble{Grade: "warn", Text: text})
	}
	for _, p := range s.Plugins {
		all = append(all, ofPlugins(p)...)
	}
	for _, h := range s.Holding[:min(len(s.Holding), 5)] {
		what := fmt.Sprintf("of category %q", h.Category)
		if h.Category == "" {
			what = "without a category"
		}
		all = append(all, trouble{"warn", fmt.Sprintf("%s for a plugin, the first for %s: install a plugin that claims it, or one that claims \"*\" and rejects what you don't want",
			say.Count(h.Pending, "upstream "+what+" waits", "upstreams "+what+" wait"), say.Ago(s.Now, h.Since)), "/plugins", "plugins"})
	}
	if more := max(len(s.Holding)-5, 0) + s.HoldingMore.Categories; more > 0 {
		all = append(all, trouble{"warn", fmt.Sprintf("upstreams of %s wait for a plugin", say.Count(more, "more category", "more categories")), "/plugins", "plugins"})
	}
	if n := s.Ledger.Dead; n > 0 {
		all = append(all, trouble{"warn", say.Count(n, "dead letter: it was acked, and no plugin could handle it. Look at its reason, mend the plugin, and replay it",
			"dead letters: they were acked, and no plugin could handle them. Look at their reasons, mend the plugin, and replay them"), "/dead", "dead letters"})
	}
	if l := s.Log; l != nil && l.Dropped+l.Failed > 0 {
		all = append(all, trouble{"warn", fmt.Sprintf("%d lines of the host's log were dropped, and %d could not be written: look at what reads it", l.Dropped, l.Failed), "", ""})
	}
	return all
}

// ofPlugins is what a plugin adds to the reasons and warnings of the host.
func ofPlugins(p admin.Plugin) (all []trouble) {
	at, name := "/plugins/"+p.Name, fmt.Sprintf("plugin %q", p.Name)
	if p.Paused {
		all = append(all, trouble{"warn", fmt.Sprintf("%s is paused, and %s: resume it when you are done", name, say.Count(p.Pending, "event waits", "events wait")), at, p.Name})
	}
	if f := p.Refusal; f != nil {
		all = append(all, trouble{"warn", fmt.Sprintf("%s: new content was refused: %s", name, f.Reason), at, p.Name})
	} else if m := ofPlugin(p); m.Grade == "bad" && len(p.Previous) == 0 { // one that served before is a reason of the host's
		all = append(all, trouble{"warn", fmt.Sprintf("%s: %s", name, cmp.Or(p.Reason, m.Word)), at, p.Name})
	}
	if p.Suspects > 0 {
		all = append(all, trouble{"warn", fmt.Sprintf("%s: %s in flight at too many crashes, and are tried alone", name, say.Count(p.Suspects, "event was", "events were")), at, p.Name})
	}
	return all
}
