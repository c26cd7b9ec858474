package plugintest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"balhost/sdk"
	"balhost/sdk/wire"

	"google.golang.org/protobuf/proto"
)

var errConflict = fmt.Errorf("%w: run again", wire.ErrConflict)

// store is what a plugin sees of a ledger: its state, and what it has sent.
type store struct {
	sessions   []string // names of the host's sessions
	transports map[string]sdk.Transport

	mu      sync.Mutex // guards what follows
	state   map[string]value
	version uint64 // of the last write
	sent    []*wire.Downstream
	ends    map[string]string // how one no longer waits, by message id: wentOut, or a code
	ids     map[string]*wire.Downstream
	refuse  error         // for Host.Send; nil: it works
	changed chan struct{} // closed and replaced at each commit
	timers  timers
}

type value struct {
	json    json.RawMessage
	version uint64
}

func newStore(sessions []string, transports map[string]sdk.Transport) *store {
	return &store{sessions: sessions, transports: transports, state: map[string]value{}, ids: map[string]*wire.Downstream{}, ends: map[string]string{}, timers: timers{by: map[string]*timer{}}, changed: make(chan struct{})}
}

func (s *store) get(key string) value {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state[key]
}

// commit applies changes all or nothing, as the ledger does (P7). by is the event that they
// belong to.
func (s *store) commit(c *wire.Changes, by *wire.Delivery) ([]sdk.Downstream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := c.Check(); err != nil {
		return nil, err
	}
	if s.changedSince(c) {
		return nil, errConflict
	}
	if s.timers.replaced(by) {
		return nil, errReplaced
	}
	fresh, here := make([]*wire.Downstream, 0, len(c.GetSend())), map[string]*wire.Downstream{}
	for _, d := range c.GetSend() {
		if d.Session == "" && len(s.sessions) > 1 {
			return nil, fmt.Errorf("%w: the downstream names no session, and there are several: %q", wire.ErrInvalid, s.sessions)
		} else if d.Session == "" {
			d.Session = s.sessions[0]
		}
		if !slices.Contains(s.sessions, d.Session) {
			return nil, unknownSession{fmt.Errorf("%w: session %q is not in config.hcl; there are %q", wire.ErrInvalid, d.Session, s.sessions)}
		}
		m, err := wire.DownstreamFromProto(d).Checked()
		if err == nil {
			err = m.Fits(s.transports[d.Session])
		}
		if err != nil {
			return nil, fmt.Errorf("%w downstream to session %q: %w", wire.ErrInvalid, d.Session, err)
		}
		old := s.ids[d.MessageId]
		if old == nil {
			old = here[d.MessageId]
		}
		switch {
		case old == nil:
			fresh = append(fresh, d)
			here[d.MessageId] = d
		case !proto.Equal(old, d):
			return nil, fmt.Errorf("%w: message id %s was used before for another message", wire.ErrInvalid, d.MessageId)
		}
	}
	for _, d := range fresh {
		s.ids[d.MessageId] = d
		s.replace(d)
		s.sent = append(s.sent, d)
	}
	for _, id := range c.GetCancel() {
		s.cancel(id, "CANCELED")
	}
	s.timers.end(by)
	s.timers.set(c.GetSchedule(), by, s.sessions[0])
	for _, w := range c.GetWrite() {
		s.version++
		if w.Remove {
			delete(s.state, w.Key)
		} else {
			s.state[w.Key] = value{json: w.Value, version: s.version}
		}
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return downstreams(c.GetSend()), nil
}

// unknownSession is an error of commit that a change of config.hcl can mend: the host
// gives the event again.
type unknownSession struct{ error }

func (e unknownSession) Unwrap() error { return e.error }

// changedSince is called with mu held.
func (s *store) changedSince(c *wire.Changes) bool {
	for _, r := range c.GetRead() {
		if s.state[r.Key].version != r.Version {
			return true
		}
	}
	return s.listsChanged(c.GetRange())
}

// stale reports whether something has changed since it was read or listed.
func (s *store) stale(c *wire.Changes) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changedSince(c)
}

// answer is the host's reply to a call.
func (s *store) answer(c *wire.Call) *wire.Reply {
	s.mu.Lock()
	refuse := s.refuse
	s.mu.Unlock()
	switch op := c.Op.(type) {
	case *wire.Call_Get:
		v := s.get(op.Get)
		r := wire.NewReply(c.Id, nil)
		r.Value, r.Version = v.json, v.version
		return r
	case *wire.Call_List:
		return s.list(c)
	case *wire.Call_Send:
		if refuse == nil {
			_, refuse = s.commit(&wire.Changes{Send: []*wire.Downstream{op.Send}}, nil)
		}
		return wire.NewReply(c.Id, refuse)
	case *wire.Call_Cancel:
		s.mu.Lock()
		defer s.mu.Unlock()
		r := wire.NewReply(c.Id, nil)
		r.Canceled = s.cancel(op.Cancel, "CANCELED")
		return r
	case *wire.Call_Update:
		if refuse == nil || len(op.Update.GetSend()) == 0 {
			_, refuse = s.commit(op.Update, nil)
		}
		return wire.NewReply(c.Id, refuse)
	}
	return wire.NewReply(c.Id, fmt.Errorf("%w: unknown kind of call", wire.ErrInvalid))
}

func downstreams(list []*wire.Downstream) []sdk.Downstream {
	var out []sdk.Downstream
	for _, d := range list {
		out = append(out, wire.DownstreamFromProto(d))
	}
	return out
}

// State decodes the value of a key of the plugin's state into v, and reports whether
// the key exists.
func (h *Host) State(key string, v any) bool {
	stored := h.store.get(key)
	if stored.version == 0 {
		return false
	}
	if err := json.Unmarshal(stored.json, v); err != nil {
		h.t.Errorf("plugintest: state %q does not fit a %T: %v", key, v, err)
	}
	return true
}

// SetState sets a key of the plugin's state to v. nil deletes the key.
func (h *Host) SetState(key string, v any) {
	w := &wire.Write{Key: key, Value: JSON(v)}
	w.Remove = bytes.Equal(w.Value, []byte("null"))
	if _, err := h.store.commit(&wire.Changes{Write: []*wire.Write{w}}, nil); err != nil {
		h.t.Errorf("plugintest: set state %q: %v", key, err)
	}
}

// Keys are the keys of the plugin's state, sorted.
func (h *Host) Keys() []string {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	var keys []string
	for k := range h.store.state {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Sent is all that the plugin has sent so far, from handlers, Host.Send and
// Host.Update.
func (h *Host) Sent() []sdk.Downstream {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	return downstreams(h.store.sent)
}

// AwaitSent waits until the plugin has sent n downstreams in all, and returns all that
// it has sent. If that takes more than 30 s, the test fails.
func (h *Host) AwaitSent(n int) []sdk.Downstream {
	h.t.Helper()
	late := time.After(patience)
	for {
		h.store.mu.Lock()
		sent, changed := h.store.sent, h.store.changed
		h.store.mu.Unlock()
		if len(sent) >= n {
			return downstreams(sent)
		}
		select {
		case <-changed:
		case <-late:
			h.t.Errorf("plugintest: %d downstreams sent within %v, expected %d", len(sent), patience, n)
			return downstreams(sent)
		}
	}
}

// Refuse makes Host.Send, and Host.Update with a downstream, fail with
// sdk.ErrUnavailable and this reason, as when the host's disk fills up. "" ends this.
// A handler's Tx is still committed.
func (h *Host) Refuse(reason string) {
	var err error
	if reason != "" {
		err = fmt.Errorf("%w: %s", wire.ErrUnavailable, reason)
	}
	h.store.mu.Lock()
	h.store.refuse = err
	h.store.mu.Unlock()
}
