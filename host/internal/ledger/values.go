package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
	"balhost/sdk/message"
)

// This file reads the state of plugins: one key, the keys of a range, and inside a commit
// whether they are still what a handler has read (P7).

// maxReads bounds the keys that one operation has read or listed: each is looked for in the
// committer.
const maxReads = message.MaxChanges

// Get reads one key of a plugin's state. A key that does not exist has version 0 and no value.
func (l *Ledger) Get(plugin, key string) (value json.RawMessage, version uint64, err error) {
	if err := checkState(plugin, key); err != nil {
		return nil, 0, fmt.Errorf("read state %q: %w", clip(key, 64), err)
	}
	err = l.read(appendValueKey(nil, plugin, key), func(r *reader) error {
		v := readValue(r)
		value, version = v.json, v.version
		return r.done()
	})
	if errors.Is(err, errGone) {
		return nil, 0, nil
	}
	return value, version, err
}

// List reads a plugin's keys in order, as they are at one moment.
func (l *Ledger) List(plugin string, s entry.Span) (out entry.Listing, err error) {
	span, err := spanOf(plugin, entry.Range{Prefix: s.Prefix, After: s.After}, s.Keys+1)
	if err != nil {
		return out, err
	}
	skip, size := len(appendValueKey(nil, plugin, "")), 0
	err = closedAs(l.state.Scan(span, func(key, record []byte) (bool, error) {
		size += len(key) - skip + len(record)
		if len(out.Items) == s.Keys || size > s.Bytes && len(out.Items) > 0 {
			out.More = true
			return false, nil
		}
		r, err := unseal(key, record)
		if err != nil {
			return false, err
		}
		v := readValue(&r)
		out.Items = append(out.Items, entry.Item{Key: string(key[skip:]), Value: v.json, Version: v.version})
		out.Digest.See(v.version)
		return true, r.done()
	}))
	if err != nil {
		return entry.Listing{}, fmt.Errorf("list state %q: %w", clip(s.Prefix, 64), err)
	}
	return out, nil
}

// spanOf says where a range begins among the records, and of how many it is to read.
func spanOf(plugin string, r entry.Range, most int) (state.Span, error) {
	if err := checkRange(plugin, r); err != nil {
		return state.Span{}, fmt.Errorf("list state %q: %w", clip(r.Prefix, 64), err)
	}
	span := state.Span{Prefix: appendValueKey(nil, plugin, r.Prefix), Most: most}
	if r.After != "" {
		span.Start = append(appendValueKey(nil, plugin, r.After), 0) // the first key that is greater
	}
	return span, nil
}

func checkRange(plugin string, r entry.Range) error {
	for _, key := range []string{r.Prefix, r.After, r.Last} {
		if err := checkState(plugin, key); err != nil && !errors.Is(err, errNoKey) {
			return err
		}
	}
	return nil
}

// checkReads compares what was read and listed with what is there: a *entry.Conflict names
// what has changed (P7).
func (b *batch) checkReads(plugin string, c entry.Changes) error {
	looks := len(c.Reads) + len(c.Ranges)
	for _, r := range c.Ranges {
		looks += r.Digest.Keys
	}
	if looks > maxReads {
		return fmt.Errorf("%d keys read and listed, more than %d: %w", looks, maxReads, entry.ErrTooLarge)
	}
	var conflict entry.Conflict
	for _, r := range c.Reads {
		if err := checkState(plugin, r.Key); err != nil {
			return fmt.Errorf("read state %q: %w", clip(r.Key, 64), err)
		}
		if v, _ := b.version(plugin, r.Key); v != r.Version {
			conflict.Keys = append(conflict.Keys, r.Key)
		}
	}
	for _, r := range c.Ranges {
		now, newer, err := b.list(plugin, r)
		if err != nil {
			return err
		}
		if now != r.Digest {
			conflict.Prefixes = append(conflict.Prefixes, r.Prefix)
			conflict.Keys = append(conflict.Keys, newer...)
		}
	}
	if conflict.Keys != nil || conflict.Prefixes != nil {
		return &conflict
	}
	return nil
}

// list returns the digest of a range as the batch's earlier operations left it, and which of its
// keys are newer than those that were listed. It stops when the range has more keys than were
// listed.
func (b *batch) list(plugin string, r entry.Range) (now entry.Digest, newer []string, err error) {
	here := b.valuesIn(plugin, r)
	span, err := spanOf(plugin, r, r.Digest.Keys+len(here)+1)
	if err != nil {
		return now, nil, err
	}
	skip := len(appendValueKey(nil, plugin, ""))
	see := func(key []byte, record reader) {
		version := record.u64()
		if now.See(version); version > r.Digest.Newest {
			newer = append(newer, string(key[skip:]))
		}
	}
	for _, key := range here {
		if record, found := b.get(key); found {
			see(key, record)
		}
	}
	b.fail(b.store.Scan(span, func(key, value []byte) (bool, error) {
		if r.Last != "" && string(key[skip:]) > r.Last {
			return false, nil
		}
		if _, changed := b.written[string(key)]; changed {
			return true, nil
		}
		record, err := unseal(key, value)
		if err == nil {
			see(key, record)
		}
		return err == nil, err
	}))
	if b.err != nil {
		return now, nil, entry.ErrClosed
	}
	return now, newer, nil
}

// valuesIn returns the keys in a range that the batch's earlier operations have changed.
func (b *batch) valuesIn(plugin string, r entry.Range) (keys [][]byte) {
	whole := appendValueKey(nil, plugin, r.Prefix)
	skip := len(whole) - len(r.Prefix)
	for _, at := range b.values {
		key := b.changes[at].Key
		if !bytes.HasPrefix(key, whole) {
			continue
		}
		if own := string(key[skip:]); own > r.After && (r.Last == "" || own <= r.Last) {
			keys = append(keys, key)
		}
	}
	return keys
}
