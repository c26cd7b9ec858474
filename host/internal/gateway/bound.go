package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"balhost/host/internal/entry"
)

// Binding is a device that a user has, as people see it.
type Binding struct {
	// User is who signed in; a name of more than 256 bytes is "sha256:" and its hash. "": no
	// user can have this device, because a credential names it.
	User string    `json:"user,omitempty"`
	From string    `json:"from"`
	Used time.Time `json:"used,omitzero"` // within a day; zero where no user has it
}

// Bindings lists the devices of users, at most max users after the page that ended with
// after, "" for the first. next is the after of the next page; "" on the last one.
func (g *Gateway) Bindings(after string, max int) (all []Binding, next string, err error) {
	prefix := g.bound.userKey("")
	got, err := g.o.State.List(StateOwner, entry.Span{Prefix: prefix, After: prefix + after, Keys: max, Bytes: pageBytes})
	if err != nil {
		return nil, "", err
	}
	for _, it := range got.Items {
		of, err := devicesOf(strings.TrimPrefix(it.Key, prefix), it.Value)
		if err != nil {
			return nil, "", err
		}
		all, next = append(all, of...), strings.TrimPrefix(it.Key, prefix)
	}
	if !got.More {
		next = ""
	}
	return all, next, nil
}

// pageBytes is how much of the state one page of Bindings reads at most.
const pageBytes = 1 << 20

// devicesOf are the devices in the value of a user's key. name is the key's last part.
func devicesOf(name string, value json.RawMessage) (all []Binding, err error) {
	var of boundDevices
	if err := json.Unmarshal(value, &of); err != nil {
		return nil, err
	}
	user, err := url.PathUnescape(name)
	for _, d := range of.Devices {
		all = append(all, Binding{user, d.From, d.Used})
	}
	return all, err
}

// BindingsOf lists the devices of a user, the name as Bindings gives it.
func (g *Gateway) BindingsOf(user string) ([]Binding, error) {
	key := g.bound.userKey(user)
	value, _, err := g.o.State.Get(StateOwner, key)
	if err != nil || value == nil {
		return nil, err
	}
	return devicesOf(strings.TrimPrefix(key, g.bound.userKey("")), value)
}

// BindingFrom says who has a device. ok is false when nobody has it.
func (g *Gateway) BindingFrom(from string) (b Binding, ok bool, err error) {
	var c entry.Changes
	var who owner
	if err := g.bound.get(&c, g.bound.fromKey(from), &who); err != nil || who == (owner{}) {
		return b, false, err
	}
	b = Binding{From: from, User: who.User}
	devices, err := g.BindingsOf(who.User)
	if i := slices.IndexFunc(devices, func(d Binding) bool { return d.From == from }); !who.Fixed && i >= 0 {
		b = devices[i]
	}
	return b, true, err
}

// Unbind takes a device from whom it is bound to, so that the next who signs in with it
// gets it. It reports whether somebody had it, and returns when that is on disk. A
// connection that the device has now goes on.
func (g *Gateway) Unbind(ctx context.Context, from string) (had bool, err error) {
	b := g.bound
	for range bindTries {
		var c entry.Changes
		var who owner
		key := b.fromKey(from)
		if err := b.get(&c, key, &who); err != nil || who == (owner{}) {
			return false, err
		}
		c.Writes = []entry.Write{{Key: key}}
		if !who.Fixed {
			err = errors.Join(b.drop(&c, who.User, from), b.count(&c, key, -1))
		}
		if err != nil {
			return false, err
		}
		err = b.commit(ctx, c, func() { b.memory.forget(from) })
		if !errors.Is(err, entry.ErrConflict) {
			return err == nil, err
		}
	}
	return false, errBindings
}

// drop takes a device out of its user's key.
func (b *bindings) drop(c *entry.Changes, user, from string) error {
	var all boundDevices
	key := b.userKey(user)
	if err := b.get(c, key, &all); err != nil {
		return err
	}
	all.Devices = slices.DeleteFunc(all.Devices, func(d boundDevice) bool { return d.From == from })
	w := entry.Write{Key: key}
	if len(all.Devices) > 0 {
		w.Value = marshal(all)
	}
	c.Writes = append(c.Writes, w)
	return nil
}
