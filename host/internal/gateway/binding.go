package gateway

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"balhost/host/internal/credential"
	"balhost/host/internal/entry"
)

// The bounds of what is bound to users.
const (
	mostDevices = 20                  // a user. Spec: fcm-v1-and-gateway.md C4
	unused      = 30 * 24 * time.Hour // then a device's place may go to a new one: FCM calls such an install stale (A2)
	noteUse     = 24 * time.Hour      // how often the use of a device is written down
	bindTries   = 10                  // commits that others may overtake
	countParts  = 256                 // keys that count bindings, so that commits seldom meet at one
	mostOfPart  = 1_000_000 / countParts
)

// bindings keep whose device is whose. A from belongs to the user that used it first in
// this session. In the state each user has a key bind/SENDER/USER, its [boundDevices], and each
// device a key from/SENDER/HASH, its user, so that two users can't both get it. The keys
// count/SENDER/PART count those of all users: anonymous users cost nothing, so somebody
// could make any number of them.
//
// On disk a user has at most 20 devices. A new one takes the place of the one that was
// unused for the longest time, if that is 30 days or more; else it is refused. So an app
// that was installed many times goes on working, and abandoned installs take no room.
type bindings struct {
	state  State
	sender string
	most   int // devices of one part
	memory bindingMemory
}

// boundDevices are the value of a user's key.
type boundDevices struct {
	Devices []boundDevice `json:"devices"`
}

type boundDevice struct {
	From string    `json:"from"`
	Used time.Time `json:"used"` // within a day
}

// owner is the value of a device's key.
type owner struct {
	User  string `json:"user,omitempty"`
	Fixed bool   `json:"fixed,omitempty"` // a credential has this from in it, so no user can have it
}

func newBindings(state State, sender string) *bindings {
	return &bindings{state: state, sender: sender, most: mostOfPart, memory: bindingMemory{known: map[string]use{}}}
}

// bindingCount is the value of a key that counts.
type bindingCount struct {
	Devices int `json:"devices"`
}

// errAllBound is a store that has as many devices of users as it may have.
var errAllBound = &credential.Unavailable{Why: "this host knows as many devices of users as it may: no new one can be bound"}

// errBindings is a store that can't be used now.
var errBindings = &credential.Unavailable{Why: "the devices of users can't be stored now"}

// bind makes from the user's, or says why not: [*credential.NotAllowed] or
// [*credential.Unavailable]. It waits for the commit.
func (b *bindings) bind(ctx context.Context, user, from string) error {
	now := time.Now()
	if b.memory.knows(from, owner{User: user}, now) {
		return nil
	}
	for range bindTries {
		c, bound, gone, err := b.plan(user, from, now)
		if err != nil {
			return err
		}
		err = b.commit(ctx, c, func() {
			if gone != "" {
				b.memory.forget(gone)
			}
			b.memory.remember(from, use{owner{User: user}, now})
		})
		switch {
		case errors.Is(err, entry.ErrConflict):
			continue
		case err != nil && !bound: // where it was bound before, only its use is not written down
			return errBindings
		}
		return nil
	}
	return errBindings
}

// plan is what is to be committed. bound reports whether from was the user's before. gone is
// the device that loses its place, or "".
func (b *bindings) plan(user, from string, now time.Time) (c entry.Changes, bound bool, gone string, err error) {
	fromKey, userKey := b.fromKey(from), b.userKey(user)
	var who owner
	var all boundDevices
	if b.get(&c, fromKey, &who) != nil || b.get(&c, userKey, &all) != nil {
		return c, false, "", errBindings
	}
	switch none := (owner{}); who {
	case owner{User: user}:
		bound = true
	case none:
	default:
		return c, false, "", &credential.NotAllowed{Why: "this from belongs to another user: when somebody else signs in on a device, let the app get a new FID or token first, and send that as from"}
	}
	gone, err = all.use(from, now)
	if err == nil && !bound {
		err = b.count(&c, fromKey, 1)
	}
	if err != nil {
		return c, false, "", err
	}
	c.Writes = append(c.Writes, entry.Write{Key: fromKey, Value: marshal(owner{User: user})}, entry.Write{Key: userKey, Value: marshal(all)})
	if gone == "" {
		return c, bound, "", nil
	}
	if b.get(&c, b.fromKey(gone), &who) != nil {
		return c, false, "", errBindings
	}
	if who == (owner{User: user}) {
		c.Writes = append(c.Writes, entry.Write{Key: b.fromKey(gone)})
		return c, bound, gone, b.count(&c, b.fromKey(gone), -1)
	}
	return c, bound, "", nil
}

// count adds to the count of a device's part what c changes. One more is refused when the
// part is full.
func (b *bindings) count(c *entry.Changes, fromKey string, more int) error {
	key := "count/" + b.sender + "/" + fromKey[len(fromKey)-2:]
	var n bindingCount
	if i := slices.IndexFunc(c.Writes, func(w entry.Write) bool { return w.Key == key }); i >= 0 { // the device that it replaces has the same part
		c.Writes = slices.Delete(c.Writes, i, i+1)
		return nil
	}
	if b.get(c, key, &n) != nil {
		return errBindings
	}
	if more > 0 && n.Devices >= b.most {
		return errAllBound
	}
	c.Writes = append(c.Writes, entry.Write{Key: key, Value: marshal(bindingCount{max(0, n.Devices+more)})})
	return nil
}

// get reads the value of a key, if it has one, and adds that to what c has read.
func (b *bindings) get(c *entry.Changes, key string, into any) error {
	value, version, err := b.state.Get(StateOwner, key)
	if err == nil && value != nil {
		err = json.Unmarshal(value, into)
	}
	c.Reads = append(c.Reads, entry.Read{Key: key, Version: version})
	return err
}

// fix makes from one that no user can have, because a credential has it in it. If a user
// had it, that user loses it. It waits for the commit.
func (b *bindings) fix(ctx context.Context, from string) error {
	fixed := use{owner{Fixed: true}, time.Now()}
	if b.memory.knows(from, fixed.owner, fixed.at) {
		return nil
	}
	for range bindTries {
		var c entry.Changes
		var who owner
		key, since := b.fromKey(from), b.memory.forgotten()
		err := b.get(&c, key, &who)
		switch {
		case err != nil:
		case who.Fixed:
			b.memory.rememberRead(since, from, fixed)
		default:
			if who.User != "" {
				err = errors.Join(b.drop(&c, who.User, from), b.count(&c, key, -1))
			}
			c.Writes = append(c.Writes, entry.Write{Key: key, Value: marshal(fixed.owner)})
			err = cmp.Or(err, b.commit(ctx, c, func() { b.memory.remember(from, fixed) }))
		}
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, entry.ErrConflict):
			return errBindings
		}
	}
	return errBindings
}

// use notes that a device is used now. gone is the one whose place it takes, or "".
func (d *boundDevices) use(from string, now time.Time) (gone string, err error) {
	oldest := 0
	for i := range d.Devices {
		if d.Devices[i].From == from {
			d.Devices[i].Used = now.UTC()
			return "", nil
		}
		if d.Devices[i].Used.Before(d.Devices[oldest].Used) {
			oldest = i
		}
	}
	if len(d.Devices) >= mostDevices {
		if now.Sub(d.Devices[oldest].Used) < unused {
			return "", &credential.NotAllowed{Why: fmt.Sprintf("this user has %d devices, which is the limit, and used each within 30 days: sign in as another user, or keep the same FID or token as from over restarts of the app", mostDevices)}
		}
		gone = d.Devices[oldest].From
		d.Devices = append(d.Devices[:oldest], d.Devices[oldest+1:]...)
	}
	d.Devices = append(d.Devices, boundDevice{from, now.UTC()})
	return gone, nil
}

// commit waits until c is on disk. then is called at that time, in the order of the commits
// and even if ctx has ended, so what it does to memory is in their order too.
func (b *bindings) commit(ctx context.Context, c entry.Changes, then func()) error {
	done := make(chan error, 1)
	b.state.Update(StateOwner, c, func(err error) {
		if err == nil {
			then()
		}
		done <- err
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// longUser is from which length on a user is named by its hash: keys are bounded.
const longUser = 256

func (b *bindings) userKey(user string) string {
	name := url.PathEscape(user)
	if len(name) > longUser {
		name = "sha256:" + digest(user)
	}
	return "bind/" + b.sender + "/" + name
}

// fromKey has a hash, because tokens are longer than keys may be.
func (b *bindings) fromKey(from string) string { return "from/" + b.sender + "/" + digest(from) }

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// marshal is v as JSON; v has no value that JSON lacks.
func marshal(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // a broken invariant
	}
	return text
}
