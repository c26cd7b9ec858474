package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"balhost/host/internal/entry"
)

// DeadQuery asks for at most Limit dead letters after the id After ("": from the start).
type DeadQuery struct {
	entry.DeadFilter
	After string
	Limit int
}

// DeadPage is a part of the dead letters that were asked for, by ascending id. Next is the
// "after" that asks for the next page, which may be empty; "" on the last one.
type DeadPage struct {
	Dead []entry.DeadLetter `json:"dead"`
	Next string             `json:"next,omitempty"`
}

// deadParameters are those of every path that lists dead letters.
func deadParameters() []parameter {
	return []parameter{
		text("device", "only this device: its whole token, or its beginning with … behind it"),
		text("category", "only this category"),
		text("plugin", "only those that this plugin tried last"),
		choice("kind", "only events of this kind", kinds()...),
		text("reason", "only those with this text in their reason"),
		moment("since", "only those that died since then"),
		moment("until", "only those that died before then"),
		text("after", `the "next" of the page before`),
		limitParameter,
	}
}

func (a api) dead(w http.ResponseWriter, r *http.Request) {
	page, err := a.Dead(deadQueryOf(r.URL.Query()))
	page.Dead = notNull(page.Dead)
	for i := range page.Dead {
		page.Dead[i].From = a.deviceFor(r, page.Dead[i].From)
	}
	a.answer(w, r, page, err)
}

// deadQueryOf reads a query that has passed checkQuery.
func deadQueryOf(v url.Values) DeadQuery {
	since, _ := time.Parse(time.RFC3339, v.Get("since"))
	until, _ := time.Parse(time.RFC3339, v.Get("until"))
	limit, _ := limitOf(v)
	return DeadQuery{
		After: v.Get("after"), Limit: limit,
		DeadFilter: entry.DeadFilter{
			Device: v.Get("device"), Category: v.Get("category"), Plugin: v.Get("plugin"), Kind: v.Get("kind"), Reason: v.Get("reason"),
			Since: since, Until: until,
		},
	}
}

// kinds are those that an event may have.
func kinds() (all []string) {
	for _, k := range []entry.Kind{entry.Upstream, entry.Outcome, entry.Receipt, entry.Timer} {
		all = append(all, k.String())
	}
	return all
}

// CheckKind is an error for a text that is neither a kind of event nor "".
func CheckKind(kind string) error {
	if kind != "" && !slices.Contains(kinds(), kind) {
		return fmt.Errorf("kind %.40q: want one of %s", kind, strings.Join(kinds(), ", "))
	}
	return nil
}

// values are q as deadQueryOf reads it.
func (q DeadQuery) values() url.Values {
	v := url.Values{"limit": {strconv.Itoa(q.Limit)}}
	for name, text := range map[string]string{
		"after": q.After, "device": q.Device, "category": q.Category, "plugin": q.Plugin, "kind": q.Kind, "reason": q.Reason,
	} {
		if text != "" {
			v.Set(name, text)
		}
	}
	for name, t := range map[string]time.Time{"since": q.Since, "until": q.Until} {
		if !t.IsZero() {
			v.Set(name, t.Format(time.RFC3339Nano))
		}
	}
	return v
}

// Dead gives one page of dead letters.
func (c *Client) Dead(ctx context.Context, q DeadQuery) (DeadPage, error) {
	return ask[DeadPage](ctx, c, http.MethodGet, "/v1/dead?"+q.values().Encode(), nil)
}

// AllDead calls each for every dead letter that f selects, by ascending id, until each
// returns an error.
func (c *Client) AllDead(ctx context.Context, f entry.DeadFilter, each func(entry.DeadLetter) error) error {
	for q := (DeadQuery{DeadFilter: f, Limit: maxPage}); ; {
		page, err := c.Dead(ctx, q)
		if err != nil {
			return err
		}
		for _, letter := range page.Dead {
			if err := each(letter); err != nil {
				return err
			}
		}
		if q.After = page.Next; q.After == "" {
			return nil
		}
	}
}
