package page

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	say "balhost/host/internal/told"
)

// rowsOfPage is how many rows one page of a list has.
const rowsOfPage = 100

func (p *Pages) dead(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	filter, err := filterOf(query.Get)
	var page admin.DeadPage
	if err == nil {
		page, err = p.Dead(admin.DeadQuery{DeadFilter: filter, After: query.Get("after"), Limit: rowsOfPage})
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := p.view(r, "Dead letters", "dead")
	v.Page = page
	p.show(w, "dead", v)
}

// filterOf is the filter that a form has.
func filterOf(typed func(string) string) (f entry.DeadFilter, err error) {
	text := func(name string) string { return strings.TrimSpace(typed(name)) }
	f = entry.DeadFilter{Device: text("device"), Category: text("category"), Plugin: text("plugin"), Kind: text("kind"), Reason: text("reason")}
	if err := admin.CheckKind(f.Kind); err != nil {
		return f, wrong(err.Error())
	}
	if f.Since, err = moment(text("since")); err == nil {
		f.Until, err = moment(text("until"))
	}
	return f, err
}

// moment is a time that a person wrote, as [say.Moment] reads it.
func moment(text string) (time.Time, error) {
	at, err := say.Moment(text, time.Now())
	if err != nil {
		return at, wrong(fmt.Sprintf("time %.40q: %v", text, err))
	}
	return at, nil
}

func (p *Pages) deadLetter(w http.ResponseWriter, r *http.Request) {
	letter, err := p.DeadLetter(r.PathValue("id"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := p.view(r, "Dead letter "+letter.ID, "dead")
	v.Page = letter
	p.show(w, "letter", v)
}

func (p *Pages) replay(r *http.Request) (told, error) {
	return p.bury(r, p.Replay, "replayed")
}

func (p *Pages) deleteDead(r *http.Request) (told, error) {
	return p.bury(r, p.DeleteDead, "deleted")
}

// bury does something to the dead letters that the form ticks, or to all that its filter
// finds.
func (p *Pages) bury(r *http.Request, do func([]string) (int, []string, error), did string) (told, error) {
	if r.PostForm.Get("all") != "" {
		return p.buryAll(r, do, did)
	}
	ids := r.PostForm["id"]
	if len(ids) == 0 {
		return told{}, wrong("no dead letter is chosen: tick those that you mean")
	}
	n, gone, err := do(ids)
	if err != nil {
		return told{}, err
	}
	admin.Did(r, "%s %s", did, several(n, "dead letter"))
	return told{Text: several(n, "dead letter") + " " + did + missing(gone)}, nil
}

// maxOrder is how many dead letters are taken at a time.
const maxOrder = 1000

func (p *Pages) buryAll(r *http.Request, do func([]string) (int, []string, error), did string) (told, error) {
	filter, err := filterOf(r.PostForm.Get)
	if err != nil {
		return told{}, err
	}
	n := 0
	for q := (admin.DeadQuery{DeadFilter: filter, Limit: maxOrder}); err == nil; {
		var page admin.DeadPage
		if page, err = p.Dead(q); err != nil || len(page.Dead) == 0 && page.Next == "" {
			break
		}
		var ids []string
		for _, letter := range page.Dead {
			ids = append(ids, letter.ID)
		}
		if len(ids) > 0 {
			var done int
			done, _, err = do(ids)
			n += done
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	if n > 0 {
		admin.Did(r, "%s %s", did, several(n, "dead letter"))
	}
	if err != nil {
		return told{}, fmt.Errorf("%s %s, and then: %w", several(n, "dead letter"), did, err)
	}
	return told{Text: several(n, "dead letter") + " " + did}, nil
}

// missing says which of those that were named were not there.
func missing(gone []string) string {
	switch n := len(gone); {
	case n == 0:
		return ""
	case n <= 3:
		return "; not there any more: " + strings.Join(gone, ", ")
	default:
		return "; " + several(n, "other") + " were not there any more"
	}
}

func (p *Pages) retries(w http.ResponseWriter, r *http.Request) {
	page, err := p.Retries(r.Context(), r.URL.Query().Get("plugin"), rowsOfPage)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := p.view(r, "Retries", "retries")
	v.Page = page
	p.show(w, "retries", v)
}

func (p *Pages) retryNow(r *http.Request) (told, error) {
	order := admin.RetryOrder{IDs: r.PostForm["id"], Plugin: r.PostForm.Get("plugin"), All: r.PostForm.Get("all") != ""}
	if !order.Clear() {
		return told{}, wrong("say which events to try now")
	}
	did, err := p.RetryNow(r.Context(), order)
	if err != nil {
		return told{}, err
	}
	thing := "event"
	if r.PostForm.Get("kind") == admin.Downstream {
		thing = admin.Downstream
	}
	if did.Done == 0 && len(did.Gone) > 0 {
		return told{}, wrong("it does not wait for another attempt any more")
	}
	admin.Did(r, "tried %s now", several(did.Done, thing))
	return told{Text: several(did.Done, thing) + " tried now" + missing(did.Gone)}, nil
}
