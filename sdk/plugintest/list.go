package plugintest

import (
	"maps"
	"slices"
	"strings"

	"balhost/sdk/message"
	"balhost/sdk/wire"
)

// list answers a call of Tx.List, with the same limits as the host's.
func (s *store) list(c *wire.Call) *wire.Reply {
	ask := c.GetList()
	r := wire.NewReply(c.Id, ask.Check())
	if r.Code != wire.Reply_OK {
		return r
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.List = &wire.ListReply{}
	size := 0
	keys := s.keysIn(ask.Range(r.List))
	for _, key := range keys {
		v := s.state[key]
		size += len(key) + len(v.json)
		if n := len(r.List.Item); n == ask.Most() || n > 0 && size > message.MaxListBytes {
			r.List.More = true
			break
		}
		r.List.Item = append(r.List.Item, &wire.Item{Key: key, Value: v.json, Version: v.version})
	}
	r.List.Digest = s.digest(keys[:len(r.List.Item)]).Bytes()
	return r
}

// keysIn is called with mu held. It returns the keys of a range, in order.
func (s *store) keysIn(r *wire.Range) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.state)), func(key string) bool {
		return !strings.HasPrefix(key, r.GetPrefix()) || key <= r.GetAfter() || r.GetLast() != "" && key > r.GetLast()
	})
}

// digest is called with mu held.
func (s *store) digest(keys []string) (d wire.Digest) {
	for _, key := range keys {
		d.Keys++
		d.Newest = max(d.Newest, s.state[key].version)
	}
	return d
}

// listsChanged is called with mu held. It reports whether a range is not as it was listed.
func (s *store) listsChanged(ranges []*wire.Range) bool {
	return slices.ContainsFunc(ranges, func(r *wire.Range) bool {
		was, err := r.Seen()
		return err != nil || s.digest(s.keysIn(r)) != was
	})
}
