package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// deletedAtOnce is how many keys one commit deletes.
const deletedAtOnce = 500

// stateOf returns an error if that is nobody's state whom a person may ask about.
func stateOf(plugin string) error {
	if entry.OwnState(plugin) {
		return entry.NoSuch("there is no plugin %q: what begins with ~ is the host's own", plugin)
	}
	return nil
}

func (h *host) state(plugin string, s entry.Span) (entry.Listing, error) {
	if err := stateOf(plugin); err != nil {
		return entry.Listing{}, err
	}
	listing, err := h.ledger.List(plugin, s)
	if err == nil && len(listing.Items) == 0 {
		err = h.owns(plugin)
	}
	return listing, err
}

func (h *host) stateValue(plugin, key string) (json.RawMessage, error) {
	if err := stateOf(plugin); err != nil {
		return nil, err
	}
	value, version, err := h.ledger.Get(plugin, key)
	if err == nil && version == 0 {
		if err = h.owns(plugin); err == nil {
			err = entry.NoSuch("plugin %s has no key %.64q in its state", plugin, key)
		}
	}
	return value, err
}

// owns returns an error if there is no such plugin, nor state that one has left.
func (h *host) owns(plugin string) error {
	var all []string
	for _, p := range h.status().Plugins {
		all = append(all, p.Name)
	}
	if slices.Contains(all, plugin) {
		return nil
	}
	if got, err := h.ledger.List(plugin, entry.Span{Keys: 1, Bytes: 1}); err != nil || len(got.Items) > 0 {
		return err
	}
	owners, err := h.ledger.StateOwners("")
	for _, o := range owners.Owners {
		all = append(all, o.Plugin)
	}
	slices.Sort(all)
	switch all = slices.Compact(all); {
	case err != nil:
		return err
	case len(all) == 0:
		return entry.NoSuch("there is no plugin %.64q, and no other one", plugin)
	}
	return entry.NoSuch("there is no plugin %.64q, and no state of one; there are: %s", plugin, strings.Join(all, ", "))
}

// deleteState deletes what is there, in the order of keys. A handler that has read or listed it
// runs again. With an error it returns how many are gone all the same.
func (h *host) deleteState(ctx context.Context, plugin string, o admin.StateOrder) (done int, err error) {
	if o.Key != nil {
		if _, err := h.stateValue(plugin, *o.Key); err != nil {
			return 0, err
		}
		return 1, h.deleteKeys(ctx, plugin, entry.Write{Key: *o.Key})
	}
	for after, more := "", true; more; {
		part, err := h.state(plugin, entry.Span{Prefix: *o.Prefix, After: after, Keys: deletedAtOnce, Bytes: message.MaxListBytes})
		if err != nil {
			return done, err
		}
		var writes []entry.Write
		for _, it := range part.Items {
			writes, after = append(writes, entry.Write{Key: it.Key}), it.Key
		}
		if len(writes) > 0 {
			if err := h.deleteKeys(ctx, plugin, writes...); err != nil {
				return done, fmt.Errorf("%d keys deleted, then: %w", done, err)
			}
		}
		done, more = done+len(writes), part.More
	}
	return done, nil
}

func (h *host) deleteKeys(ctx context.Context, plugin string, writes ...entry.Write) error {
	stored := make(chan error, 1)
	h.ledger.Update(plugin, entry.Changes{Writes: writes}, func(err error) { stored <- err })
	select {
	case err := <-stored:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
