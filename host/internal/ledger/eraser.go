package ledger

import (
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
)

func (e *eraser) event(seq uint64) error {
	if e == nil {
		return nil
	}
	if e.events.seqs = append(e.events.seqs, seq); len(e.events.seqs) < eraseAtOnce {
		return nil
	}
	return e.endEvents()
}

func (e *eraser) endEvents() error {
	if len(e.events.seqs) == 0 {
		return nil
	}
	o := &eraseEvents{seqs: e.events.seqs, upTo: e.upTo, l: e.l}
	e.events.seqs = nil
	done := make(chan error, 1)
	e.l.put(o, func(err error) {
		if err == nil && len(o.gone) > 0 {
			e.gone(o.gone)
		}
		done <- err
	})
	err := <-done
	e.did += len(o.gone) + o.left
	e.held = append(e.held, o.held...)
	return err
}

func (e *eraser) sent(seq uint64) error {
	if e == nil {
		return nil
	}
	if e.sents.seqs = append(e.sents.seqs, seq); len(e.sents.seqs) < eraseAtOnce {
		return nil
	}
	return e.endSent()
}

func (e *eraser) endSent() error {
	if len(e.sents.seqs) == 0 {
		return nil
	}
	o := &eraseSent{seqs: e.sents.seqs}
	e.sents.seqs = nil
	err := e.l.wait(o)
	e.did += o.did
	return err
}

func (e *eraser) timer(t waitingTimer) error {
	if e == nil {
		return nil
	}
	if e.timers.timers = append(e.timers.timers, t); len(e.timers.timers) < eraseAtOnce {
		return nil
	}
	return e.endTimers()
}

func (e *eraser) endTimers() error {
	if len(e.timers.timers) == 0 {
		return nil
	}
	o := &eraseTimers{timers: e.timers.timers}
	e.timers.timers = nil
	err := e.l.wait(o)
	e.did += len(o.timers) // one that was not there any more is an event by now: look again
	return err
}

func (e *eraser) letter(id ulid.ULID) error {
	if e == nil {
		return nil
	}
	if e.letters = append(e.letters, id.String()); len(e.letters) < eraseAtOnce {
		return nil
	}
	return e.endLetters()
}

func (e *eraser) endLetters() error {
	n, _, err := e.l.DeleteDead(e.letters)
	e.letters, e.did = nil, e.did+n
	return err
}

// page has a page written again when its entries of the device have ended.
func (e *eraser) page(kind byte, seq uint64) error {
	if e == nil {
		return nil
	}
	if e.pages[kind] = append(e.pages[kind], seq); len(e.pages[kind]) < squeezePages {
		return nil
	}
	return e.endPages(kind)
}

func (e *eraser) endPages(kind byte) error {
	for len(e.pages[kind]) > 0 {
		o := &erasePages{kind: kind, pages: e.pages[kind]}
		if err := e.l.wait(o); err != nil {
			return err
		}
		e.did += len(o.pages) - len(o.left)
		e.pages[kind] = o.left
	}
	return nil
}

func (e *eraser) summaries(key []byte, size int) error {
	if e == nil {
		return nil
	}
	o := &eraseSummaries{key: key, bytes: size, m: e.m}
	err := e.l.wait(o)
	e.did += o.did
	return err
}

func (e *eraser) key(k entry.StateKey) error {
	if e == nil || k.InValue && !e.values {
		return nil
	}
	e.keys[k.Plugin] = append(e.keys[k.Plugin], entry.Write{Key: k.Key})
	if len(e.keys[k.Plugin]) < eraseAtOnce {
		return nil
	}
	return e.endKeys(k.Plugin)
}

func (e *eraser) endKeys(plugin string) error {
	writes := e.keys[plugin]
	delete(e.keys, plugin)
	done := make(chan error, 1)
	e.l.Update(plugin, entry.Changes{Writes: writes}, func(err error) { done <- err })
	if err := <-done; err != nil {
		return fmt.Errorf("delete %d keys of the state of %s: %w", len(writes), plugin, err)
	}
	e.did += len(writes)
	return nil
}

// flush erases what is left of the portions. Pages come last: what has ended in them is left out.
func (e *eraser) flush() error {
	if e == nil {
		return nil
	}
	err := errors.Join(e.endEvents(), e.endSent(), e.endTimers())
	if len(e.letters) > 0 {
		err = errors.Join(err, e.endLetters())
	}
	for plugin := range e.keys {
		err = errors.Join(err, e.endKeys(plugin))
	}
	for kind := range e.pages {
		err = errors.Join(err, e.endPages(kind))
	}
	return err
}
