// Package route decides which plugin handles an event, and in which lane (P5). It is
// pure. Start at [NewTable] and [Order.Lane].
package route

import (
	"cmp"
	"slices"
)

// Any is the category of the plugin that takes what no other plugin claims.
const Any = "*"

// Claim is what one plugin wants to handle.
type Claim struct {
	Plugin     string
	Categories []string
	FromConfig bool // the categories come from config.hcl; such a claim wins
}

// Loss is a claim that another plugin won.
type Loss struct {
	Category, Loser, Winner string
}

// Table says which plugin handles a category. It never changes.
type Table struct {
	owners   map[string]string
	present  map[string]bool
	recorded func(category string) string
	losses   []Loss
}

// NewTable decides who gets each category: a claim from the config, else the owner so
// far, else the first plugin by name. claims has every plugin that has described
// itself. recorded returns the owner of a category in the ledger, or "".
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

// first sorts true before false.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// Owner is the plugin that handles category, or "" if none does. If no plugin claims
// the category now, it belongs to its last owner, as long as that plugin is absent. If
// the last owner is present and does not claim it any more, it goes to "*".
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

// Owners are all claimed categories with their owners.
func (t *Table) Owners() map[string]string { return t.owners }

// Losses are the claims that another plugin won, sorted by category.
func (t *Table) Losses() []Loss { return t.losses }
