package plugincheck

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"

	"balhost/sdk/wire"
)

// book is the plugin's state, as a host's ledger has it, and what the plugin has sent.
type book struct {
	sessions []Session
	timed    bool // the plugin has a handler for timers
	values   map[string]value
	keys     []string // of values, in order
	version  uint64   // the last one given out

	sent      *wire.Downstream // the last that was committed; nil: none
	scheduled *wire.Schedule   // the same
}

type value struct {
	json    []byte
	version uint64
}

func newBook(sessions []Session) *book { return &book{sessions: sessions, values: map[string]value{}} }

// get answers a call.
func (b *book) get(id uint64, key string) *wire.Reply {
	r := wire.NewReply(id, wire.CheckKey(key))
	if r.Code == wire.Reply_OK {
		r.Value, r.Version = b.values[key].json, b.values[key].version
	}
	return r
}

// list answers a call.
func (b *book) list(id uint64, l *wire.List) *wire.Reply {
	if err := l.Check(); err != nil {
		return wire.NewReply(id, err)
	}
	const maxBytes = 1 << 20
	var digest wire.Digest
	out := &wire.ListReply{}
	size := 0
	for _, key := range b.within(l.GetPrefix(), l.GetAfter(), "") {
		v := b.values[key]
		if size += len(key) + len(v.json); len(out.Item) == l.Most() || len(out.Item) > 0 && size > maxBytes {
			out.More = true
			break
		}
		out.Item = append(out.Item, &wire.Item{Key: key, Value: v.json, Version: v.version})
		digest.Keys++
		digest.Newest = max(digest.Newest, v.version)
	}
	out.Digest = digest.Bytes()
	return &wire.Reply{Id: id, List: out}
}

// within are the keys with this prefix behind after, up to last; "": all.
func (b *book) within(prefix, after, last string) (keys []string) {
	from := sort.SearchStrings(b.keys, max(prefix, after))
	for _, key := range b.keys[from:] {
		if !strings.HasPrefix(key, prefix) || last != "" && key > last {
			break
		}
		if key > after || after == "" {
			keys = append(keys, key)
		}
	}
	return keys
}

// changed says which key of the reads and ranges has changed; "": none.
func (b *book) changed(c *wire.Changes) string {
	for _, r := range c.GetRead() {
		if b.values[r.GetKey()].version != r.GetVersion() {
			return r.GetKey()
		}
	}
	for _, r := range c.GetRange() {
		seen, err := r.Seen()
		var now wire.Digest
		for _, key := range b.within(r.GetPrefix(), r.GetAfter(), r.GetLast()) {
			now.Keys++
			now.Newest = max(now.Newest, b.values[key].version)
		}
		if err != nil || now != seen {
			return r.GetPrefix()
		}
	}
	return ""
}

// commit writes.
func (b *book) commit(c *wire.Changes) {
	for _, w := range c.GetWrite() {
		b.write(w.GetKey(), w.GetValue(), w.GetRemove())
	}
	if n := len(c.GetSend()); n > 0 {
		b.sent = c.GetSend()[n-1]
	}
	for _, s := range c.GetSchedule() {
		if !s.GetCancel() {
			b.scheduled = s
		}
	}
}

func (b *book) write(key string, json []byte, remove bool) {
	at, has := slices.BinarySearch(b.keys, key)
	switch {
	case remove && has:
		b.keys = slices.Delete(b.keys, at, at+1)
		delete(b.values, key)
	case !remove:
		if !has {
			b.keys = slices.Insert(b.keys, at, key)
		}
		b.version++
		b.values[key] = value{json, b.version}
	}
}

// touch makes another version of what was read and is there, as another handler's commit
// does. Values stay as they are, so that the plugin's own data is never harmed.
func (b *book) touch(c *wire.Changes) {
	for _, r := range c.GetRead() {
		if old, has := b.values[r.GetKey()]; has {
			b.write(r.GetKey(), old.json, false)
		}
	}
}

// refusal says why changes can never be committed; nil: they can.
func (b *book) refusal(c *wire.Changes) error {
	if err := c.Check(); err != nil {
		return err
	}
	for _, w := range c.GetWrite() {
		if !w.GetRemove() && !json.Valid(w.GetValue()) {
			return fmt.Errorf("the value of %.64q is not JSON: %.40q", w.GetKey(), w.GetValue())
		}
	}
	if len(c.GetSchedule()) > 0 && !b.timed {
		return fmt.Errorf("it sets the timer %.64q, and its manifest has no handler for timers", c.GetSchedule()[0].GetKey())
	}
	seen := map[string]bool{}
	for _, d := range c.GetSend() {
		if err := b.unfit(d); err != nil {
			return err
		}
		if seen[d.GetMessageId()] {
			return fmt.Errorf("two downstreams have the id %q", d.GetMessageId())
		}
		seen[d.GetMessageId()] = true
	}
	return nil
}

// unfit says why a downstream can't be taken; nil: it can.
func (b *book) unfit(d *wire.Downstream) error {
	checked, err := wire.DownstreamFromProto(d).Checked()
	if err != nil {
		return err
	}
	if checked.MessageID == "" {
		return fmt.Errorf("a downstream has no message_id")
	}
	session := b.sessions[0]
	if name := d.GetSession(); name != "" {
		at := slices.IndexFunc(b.sessions, func(s Session) bool { return s.Name == name })
		if at < 0 {
			return fmt.Errorf("a downstream is for the session %q, which the plugin was not told of", name)
		}
		session = b.sessions[at]
	}
	return checked.Fits(session.Transport)
}
