package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
)

// Absence is what Forget asks of those who know plugins and hand out events.
type Absence struct {
	Watcher
	// Owners returns a function that names the plugin to which a category belongs now: the
	// one that claims it, or else the absent one that had it last.
	Owners func(context.Context) (func(category string) string, error)
	// Still returns an error once the plugin is not gone any more.
	Still func(context.Context) error
}

// Forget takes a plugin that is gone for good out of the ledger, and returns what there was.
// What waits for it becomes dead letters, or is deleted; so are its dead letters then, and its
// state if that is asked. Its categories are nobody's. What it has sent goes on, and nobody
// is told how that ends (P4, P8: a person wants it so). It works in small commits between those
// of others. After an error, or a crash, the next Forget goes on with what is left: what leads
// to the rest goes last. If the plugin comes back meanwhile, Forget ends, and what is left is
// the new plugin's.
func (l *Ledger) Forget(ctx context.Context, f entry.Forgetting, a Absence) (entry.Forgotten, error) {
	if err := checkState(f.Plugin, "x"); err != nil || entry.OwnState(f.Plugin) {
		return entry.Forgotten{}, entry.NoSuch("there is no plugin %q", clip(f.Plugin, 64))
	}
	if !l.erasing.TryLock() {
		return entry.Forgotten{}, ErrErasing
	}
	defer l.erasing.Unlock()
	ctx, end := l.untilClosed(ctx)
	defer end()
	g := &forgetter{l: l, ctx: ctx, Forgetting: f, Absence: a}
	a.Stage("looking for what the plugin has")
	err := g.look()
	if err != nil || f.Plan || !g.found.Any() {
		return g.found, err
	}
	if err := g.do(); err != nil {
		return g.found, fmt.Errorf("forget plugin %s%s: %w", f.Plugin, early(&g.found), err)
	}
	return g.found, nil
}

// early says what was done before an error ended it; "" if nothing was.
func early(f *entry.Forgotten) string {
	if f.Moved+f.Deleted+f.DeadDeleted+f.KeysDeleted == 0 {
		return ""
	}
	return fmt.Sprintf(" ended early, after %d became dead letters and %d were deleted, with %d dead letters and %d keys of its state", f.Moved, f.Deleted, f.DeadDeleted, f.KeysDeleted)
}

// forgetter forgets one plugin.
type forgetter struct {
	l   *Ledger
	ctx context.Context
	entry.Forgetting
	Absence
	found entry.Forgotten
	upTo  uint64 // no later upstream is taken
}

// do is what Forget does. First of all no event for the plugin can come any more. The
// owners of its categories come last: they say which upstreams are its.
func (g *forgetter) do() error {
	note := &forget{plugin: g.Plugin}
	if err := g.l.wait(note); err != nil {
		return err
	}
	g.upTo = g.l.forgottenNow()[g.Plugin].Seq
	what := "making dead letters of what waits"
	if g.Delete {
		what = "deleting what waits"
	}
	g.Stage(what)
	if err := g.timers(g.timersAway); err != nil { // first: from now on none becomes an event
		return err
	}
	last := g.l.lastSeq()
	if err := g.waitSeen(last); err != nil {
		return err
	}
	if err := g.events(last, g.eventsAway); err != nil {
		return err
	}
	if g.Delete {
		g.Stage("deleting dead letters")
		if err := g.letters(g.lettersAway); err != nil {
			return err
		}
	}
	if g.State {
		g.Stage("deleting its state")
		if err := g.stateAway(); err != nil {
			return err
		}
	}
	if err := g.Still(g.ctx); err != nil {
		return err
	}
	for _, category := range g.l.categoriesOf(g.Plugin) {
		if err := g.l.wait(&setOwner{category, ""}); err != nil {
			return err
		}
	}
	return nil
}

// lastSeq is the last one that was given out.
func (l *Ledger) lastSeq() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tally.seq
}

// waitSeen waits until those who hand out events know of all up to a seq.
func (g *forgetter) waitSeen(last uint64) error {
	for {
		seen, err := g.Seen(g.ctx)
		if err != nil {
			return err
		}
		if next := g.l.Events(seen, 1); len(next) == 0 || next[0].Seq > last {
			return nil
		}
		select {
		case <-g.ctx.Done():
			return context.Cause(g.ctx)
		case <-time.After(heldPause):
		}
	}
}

// look counts what there is.
func (g *forgetter) look() error {
	f := &g.found
	f.Categories, g.upTo = g.l.categoriesOf(g.Plugin), math.MaxUint64
	err := g.events(math.MaxUint64, func(mine []entry.Event) error {
		for i := range mine {
			switch mine[i].Kind {
			case entry.Upstream:
				f.Upstreams++
			case entry.Outcome:
				f.Outcomes++
			case entry.Receipt:
				f.Receipts++
			case entry.Timer:
				f.Timers++
			}
		}
		return nil
	})
	for after, more := uint64(0), err == nil; more; {
		sent := g.l.Downstreams(after, forgetLook)
		for i := range sent {
			if after = sent[i].Seq; sent[i].Owner == g.Plugin {
				f.Downstreams++
			}
		}
		more = len(sent) == forgetLook && g.ctx.Err() == nil
	}
	if err == nil {
		err = g.timers(func(all []waitingTimer) error { f.Timers += len(all); return nil })
	}
	if err == nil {
		err = g.letters(func(ids []string) error { f.Dead += len(ids); return nil })
	}
	if err == nil {
		err = g.countState()
	}
	return errors.Join(err, g.ctx.Err())
}

// forgetLook is how many entries are read at once.
const forgetLook = 1000

// events gives the plugin's pending events up to a seq, in portions.
func (g *forgetter) events(upTo uint64, do func([]entry.Event) error) error {
	for after := uint64(0); ; {
		all := g.l.Events(after, forgetLook)
		if len(all) == 0 || all[0].Seq > upTo {
			return g.ctx.Err()
		}
		after = all[len(all)-1].Seq
		owner, err := g.Owners(g.ctx)
		if err != nil {
			return err
		}
		mine := slices.DeleteFunc(all, func(e entry.Event) bool {
			switch {
			case e.Seq > upTo:
				return true
			case e.Plugin != "":
				return e.Plugin != g.Plugin
			}
			return e.Seq > g.upTo || owner(e.Category) != g.Plugin
		})
		if len(mine) > 0 {
			err = do(mine)
		}
		if err != nil {
			return err
		}
	}
}

// eventsAway ends events.
func (g *forgetter) eventsAway(mine []entry.Event) error {
	seqs := make([]uint64, len(mine))
	for i := range mine {
		seqs[i] = mine[i].Seq
	}
	for len(seqs) > 0 {
		if err := errors.Join(g.Still(g.ctx), g.ctx.Err()); err != nil {
			return err
		}
		o := &forgetEvents{l: g.l, plugin: g.Plugin, remove: g.Delete, seqs: seqs[:min(len(seqs), forgetAtOnce)]}
		done := make(chan error, 1)
		g.l.put(o, func(err error) {
			if err == nil && len(o.gone) > 0 {
				g.Gone(o.gone)
			}
			done <- err
		})
		if err := <-done; err != nil {
			return err
		}
		seqs = seqs[o.done:]
		if g.found.Moved += o.moved; g.Delete {
			g.found.Deleted += len(o.gone)
		}
	}
	return nil
}

// timers gives the plugin's timers that wait, in portions.
func (g *forgetter) timers(do func([]waitingTimer) error) error {
	prefix, size := appendTimerKey(nil, g.Plugin, ""), 0
	var some []waitingTimer
	flush := func() (err error) {
		if len(some) > 0 {
			err = do(some)
		}
		some, size = nil, 0
		return errors.Join(err, g.ctx.Err())
	}
	return closedAs(g.l.state.Moment(func(m *state.Moment) error {
		err := m.Scan(prefix, prefix, func(key, record []byte) (bool, error) {
			r, err := unseal(key, record)
			if err != nil {
				return false, err
			}
			n := readTimerName(&r)
			if err := r.done(); err != nil || n.event != 0 {
				return err == nil, err
			}
			if _, err := m.Get(appendDueKey(nil, n.at), func(v []byte) error {
				n.at.bytes = uint32(len(v))
				return nil
			}); err != nil {
				return false, err
			}
			if len(some) == forgetAtOnce || len(some) > 0 && size+int(n.at.bytes) > forgetBytes {
				err = flush()
			}
			size += int(n.at.bytes)
			some = append(some, waitingTimer{g.Plugin, string(key[len(prefix):]), n.at})
			return err == nil, err
		})
		if err != nil {
			return err
		}
		return flush()
	}))
}

func (g *forgetter) timersAway(all []waitingTimer) error {
	if err := g.Still(g.ctx); err != nil {
		return err
	}
	o := &forgetTimers{remove: g.Delete, timers: all}
	err := g.l.wait(o)
	if err == nil && g.Delete {
		g.found.Deleted += o.did
	} else if err == nil {
		g.found.Moved += o.did
	}
	return err
}

// letters gives the ids of the plugin's dead letters, in portions: those that it tried last, or
// that only it can handle.
func (g *forgetter) letters(do func(ids []string) error) error {
	for after, more := "", true; more; {
		var ids []string
		next, err := g.l.eachLetter(after, func(d *dead, _ lent) bool {
			if d.plugin == g.Plugin || d.event.plugin == g.Plugin {
				ids = append(ids, d.event.id.String())
			}
			return len(ids) < forgetAtOnce
		})
		if err == nil && len(ids) > 0 {
			err = do(ids)
		}
		if err = errors.Join(err, g.ctx.Err()); err != nil {
			return err
		}
		after, more = next, next != ""
	}
	return nil
}

func (g *forgetter) lettersAway(ids []string) error {
	if err := g.Still(g.ctx); err != nil {
		return err
	}
	n, _, err := g.l.DeleteDead(ids)
	g.found.DeadDeleted += n
	return err
}

// countState counts the keys of the plugin's state.
func (g *forgetter) countState() error {
	prefix := appendValueKey(nil, g.Plugin, "")
	return closedAs(g.l.state.Moment(func(m *state.Moment) error {
		return m.Scan(prefix, prefix, func(key, record []byte) (bool, error) {
			g.found.StateKeys++
			g.found.StateBytes += int64(len(key) - len(prefix) + len(record))
			return true, g.ctx.Err()
		})
	}))
}

// stateAway deletes the plugin's state.
func (g *forgetter) stateAway() error {
	prefix, after := appendValueKey(nil, g.Plugin, ""), ""
	for {
		if err := errors.Join(g.Still(g.ctx), g.ctx.Err()); err != nil {
			return err
		}
		var writes []entry.Write
		span := state.Span{Prefix: prefix, Most: forgetAtOnce}
		if after != "" {
			span.Start = append(appendValueKey(nil, g.Plugin, after), 0)
		}
		err := closedAs(g.l.state.Scan(span, func(key, _ []byte) (bool, error) {
			writes = append(writes, entry.Write{Key: string(bytes.TrimPrefix(key, prefix))})
			return len(writes) < forgetAtOnce, nil
		}))
		if err != nil || len(writes) == 0 {
			return err
		}
		after = writes[len(writes)-1].Key
		if err := g.l.wait(&update{plugin: g.Plugin, changes: entry.Changes{Writes: writes}, l: g.l}); err != nil {
			return err
		}
		g.found.KeysDeleted += len(writes)
	}
}

// categoriesOf are the categories that a plugin had last, sorted.
func (l *Ledger) categoriesOf(plugin string) []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	all := []string{}
	for category, owner := range l.owners {
		if owner == plugin {
			all = append(all, category)
		}
	}
	slices.Sort(all)
	return all
}
