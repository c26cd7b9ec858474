// Package route decides which plugin an event belongs to and in which lane it
// waits (P5). It is pure: it reads what it is given and starts nothing. Start
// at [NewTable] and [Order.Lane].
package route

import (
	"cmp"
	"slices"
)

// Any is the category of the plugin that takes what no other claims.
const Any = "*"

// Claim is what one plugin wants to handle.
type Claim struct {
	Plugin     string
	Categories []string
	FromConfig bool // the categories come from config.hcl and win over a plugin's own
}

// Loss is a claim that another plugin won.
type Loss struct {
	Category, Loser, Winner string
}

// Table says who handles a category. It does not change.
type Table struct {
	owners   map[string]string
	present  map[string]bool
	recorded func(category string) string
	losses   []Loss
}

// NewTable settles claims: config decides, else the owner so far, else the
// first by name. claims holds every plugin that has described itself;
// recorded gives the owner that the ledger remembers for a category, or "".
func NewTable(claims []Claim, recorded func(category string) string) *Table {
	t := &Table{owners: map[string]string{}, present: map[string]bool{}, recorded: recorded}
	byCategory := map[string][]Claim{}
	for _, c := range claims {
		t.present[c.Plugin] = true
		for _, category := range c.Categories {
			byCategory[category] = append(byCategory[category], c)
		}
	}
	for category, rivals := range byCategory {
		soFar := recorded(category)
		slices.SortFunc(rivals, func(a, b Claim) int {
			return cmp.Or(
				first(a.FromConfig, b.FromConfig),
				first(a.Plugin == soFar, b.Plugin == soFar),
				cmp.Compare(a.Plugin, b.Plugin))
		})
		t.owners[category] = rivals[0].Plugin
		for _, loser := range rivals[1:] {
			if loser.Plugin != rivals[0].Plugin {
				t.losses = append(t.losses, Loss{Category: category, Loser: loser.Plugin, Winner: rivals[0].Plugin})
			}
		}
	}
	slices.SortFunc(t.losses, func(a, b Loss) int {
		return cmp.Or(cmp.Compare(a.Category, b.Category), cmp.Compare(a.Loser, b.Loser))
	})
	return t
}

// first orders a before b when only a holds.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// Owner is the plugin that handles category, or "" when nobody does. A
// category that nobody claims now waits for the plugin that had it last, unless
// that one is here and has given it up; only then it falls to "*".
func (t *Table) Owner(category string) string {
	if owner, ok := t.owners[category]; ok && category != "" {
		return owner
	}
	if category != "" && category != Any {
		if last := t.recorded(category); last != "" && !t.present[last] {
			return last
		}
	}
	if owner, ok := t.owners[Any]; ok {
		return owner
	}
	if last := t.recorded(Any); last != "" && !t.present[last] {
		return last
	}
	return ""
}

// Owners gives every claimed category with its owner.
func (t *Table) Owners() map[string]string { return t.owners }

// Losses are the claims that were not granted, sorted by category.
func (t *Table) Losses() []Loss { return t.losses }
