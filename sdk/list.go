package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"balhost/sdk/wire"
)

// Item is one key of the plugin's state, with its value.
type Item struct {
	Key   string
	Value json.RawMessage
}

// Decode decodes the value into v.
func (it Item) Decode(v any) error {
	_, err := decode(it.Key, it.Value, v)
	return err
}

// List returns the keys of the plugin's state that begin with prefix and are greater than
// after, in the order of their bytes, with their values: at most max, or as many as fit if max
// is 0. It sees what this Tx has put and deleted. more says that there are others behind the
// last: pass its key as after to go on. If there are more, there is at least one; but there can be
// fewer than max: the keys and values of one List have at most 1 MiB, and what this Tx has
// deleted is left out.
//
//	for after, more := "", true; more; {
//		var orders []sdk.Item
//		var err error
//		if orders, more, err = tx.List(ctx, "order/", after, 100); err != nil {
//			return err
//		}
//		for _, it := range orders {
//			… it.Decode(&order) …
//			after = it.Key
//		}
//	}
//
// A List is checked at the commit as a Get is. If a key in it has come, gone or changed
// meanwhile, the handler runs again. So list the smallest part that will do: each key counts
// towards MaxChanges, and the list counts one more. Keys such as "order/2026-01-31/0017" let a
// handler list one day. If many handlers list one part and write into it, they run one after
// the other.
func (tx *Tx) List(ctx context.Context, prefix, after string, max int) (items []Item, more bool, err error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	for {
		ask := &wire.List{Prefix: prefix, After: after}
		page, err := tx.page(ctx, ask, max)
		if err != nil {
			return nil, false, fmt.Errorf("list %q: %w", prefix, err)
		}
		part := ask.Range(page)
		items, more := tx.merged(part, page.GetItem()), page.GetMore()
		if max > 0 && len(items) > max {
			return items[:max], true, nil
		}
		if len(items) > 0 || !more {
			return items, more, nil
		}
		after = part.Last // this Tx has deleted all of the page
	}
}

// page asks the host for a part of a list, and notes what has been seen of it. max is as in List.
func (tx *Tx) page(ctx context.Context, ask *wire.List, max int) (*wire.ListReply, error) {
	if err := ask.Check(); err != nil {
		return nil, err
	}
	if err := tx.grow(2, 0); err != nil { // the list, and a key at the least
		return nil, err
	}
	room := MaxChanges - tx.count() - 1
	if max <= 0 || max > room {
		max = room
	}
	ask.Max = uint32(max)
	r, err := tx.calls.call(ctx, &wire.Call{Op: &wire.Call_List{List: ask}, Delivery: tx.delivery})
	if err != nil {
		return nil, err
	}
	part := ask.Range(r.GetList())
	if err := tx.grow(part.Count(), part.Size()); err != nil {
		return nil, err
	}
	tx.ranges = append(tx.ranges, part)
	tx.listed += part.Count()
	return r.GetList(), nil
}

// merged is what is stored in a part, with what this Tx has put and deleted there.
func (tx *Tx) merged(part *wire.Range, stored []*wire.Item) []Item {
	items := make([]Item, 0, len(stored))
	for _, it := range stored {
		if tx.writes[it.GetKey()] == nil {
			items = append(items, Item{it.GetKey(), it.GetValue()})
		}
	}
	for key, w := range tx.writes {
		if !w.Remove && strings.HasPrefix(key, part.Prefix) && key > part.After && (part.Last == "" || key <= part.Last) {
			items = append(items, Item{key, w.Value})
		}
	}
	slices.SortFunc(items, func(a, b Item) int { return strings.Compare(a.Key, b.Key) })
	return items
}
