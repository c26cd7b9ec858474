package dispatch

import (
	"slices"
	"strings"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/turns"
	"balhost/sdk/message"
	"balhost/sdk/wire"
)

// Handlers that list keys meet on a prefix, as others meet on a key. So for the turns a listed
// prefix is one more key, which all who write a key under it write too.

// listedName is the name of a prefix in the turns. No key has such a name, because keys are UTF-8.
func listedName(prefix string) string { return "\xff" + prefix }

// maxListed is how many prefixes of a plugin's state are known to the turns at once.
const maxListed = 64

// listed are the prefixes over which runs have lost, and when last. The turns may know those.
type listed map[string]time.Time

func (l listed) lost(prefix string, now time.Time) {
	if _, known := l[prefix]; !known && len(l) >= maxListed {
		oldest := prefix
		for p, at := range l {
			if oldest == prefix || at.Before(l[oldest]) {
				oldest = p
			}
		}
		delete(l, oldest)
	}
	l[prefix] = now
}

// tidy forgets what has not been lost over for so long that the turns have forgotten it too.
func (l listed) tidy(now time.Time) {
	for prefix, at := range l {
		if now.Sub(at) > time.Minute {
			delete(l, prefix)
		}
	}
}

// writes returns what a commit changes, in the words of the turns.
func (l listed) writes(c entry.Changes) []string {
	var names []string
	for _, w := range c.Writes {
		names = append(names, w.Key)
	}
	for prefix := range l {
		if writesUnder(c, prefix) {
			names = append(names, listedName(prefix))
		}
	}
	return names
}

func writesUnder(c entry.Changes, prefix string) bool {
	return slices.ContainsFunc(c.Writes, func(w entry.Write) bool { return strings.HasPrefix(w.Key, prefix) })
}

// modes says what a run did with the keys that it used, in the words of the turns.
func modes(c entry.Changes) map[string]turns.Mode {
	keys := map[string]turns.Mode{}
	for _, r := range c.Reads {
		keys[r.Key] = turns.Reading
	}
	for _, w := range c.Writes {
		keys[w.Key] = turns.Owning
	}
	for _, r := range c.Ranges {
		if keys[listedName(r.Prefix)] = turns.Reading; writesUnder(c, r.Prefix) {
			keys[listedName(r.Prefix)] = turns.Owning
		}
	}
	return keys
}

// saw tells the turns what a run has read, and which of it it has also written.
func (p *plugin) saw(c entry.Changes) {
	wrote := modes(c)
	for _, r := range c.Reads {
		p.turns.Saw(r.Key, wrote[r.Key] == turns.Owning)
	}
	for _, r := range c.Ranges {
		p.turns.Saw(listedName(r.Prefix), wrote[listedName(r.Prefix)] == turns.Owning)
	}
}

// contended notes over what a run has lost, and returns it for people.
func (d *Dispatcher) contended(p *plugin, c entry.Changes, err error) (keys []string) {
	conflict := changed(err)
	now, wrote := time.Now(), modes(c)
	var names []string
	for _, key := range conflict.Keys {
		if wrote[key] != 0 { // and not only in what it has listed
			names = append(names, key)
		}
	}
	keys = conflict.Keys
	for _, prefix := range conflict.Prefixes {
		p.listed.lost(prefix, now)
		names, keys = append(names, listedName(prefix)), append(keys, prefix+"*")
	}
	p.turns.Lost(names, func(name string) bool { return wrote[name] == turns.Owning }, now)
	return keys
}

// looked is what a call reads, in the words of the turns; "": nothing that has turns.
func looked(c *wire.Call) string {
	switch op := c.GetOp().(type) {
	case *wire.Call_Get:
		return op.Get
	case *wire.Call_List:
		return listedName(op.List.GetPrefix())
	}
	return ""
}

// list answers with what there is of a part of the plugin's state now.
func (d *Dispatcher) list(in *Instance, c *wire.Call) *wire.Reply {
	ask := c.GetList()
	if err := ask.Check(); err != nil {
		return wire.NewReply(c.GetId(), err)
	}
	got, err := d.o.Ledger.List(in.Name, entry.Span{Prefix: ask.GetPrefix(), After: ask.GetAfter(), Keys: ask.Most(), Bytes: message.MaxListBytes})
	reply := wire.NewReply(c.GetId(), translate(err))
	if err != nil {
		return reply
	}
	reply.List = &wire.ListReply{More: got.More, Digest: wire.Digest{Keys: uint32(got.Digest.Keys), Newest: got.Digest.Newest}.Bytes()}
	for _, it := range got.Items {
		reply.List.Item = append(reply.List.Item, &wire.Item{Key: it.Key, Value: it.Value, Version: it.Version})
	}
	return reply
}
