package ledger

import (
	"bytes"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
)

// mostOwners is how many owners of state StateOwners lists.
const mostOwners = 1000

// StateOwners says whose state there is, by name, with how many keys and bytes. The host's own
// is left out. after is the name after which it begins; "": with the first one. It reads as
// much as one search may. If that is not all, Next is the name of the last one; and of an owner
// with very much, More says that it has more than what is counted.
func (l *Ledger) StateOwners(after string) (all entry.StateOwners, err error) {
	e, start, last := l.newEffort(0), []byte{kindValue}, ""
	if after != "" {
		start = pastOwner(after)
	}
	for more := true; more; {
		more = false
		owner := entry.StateOwner{}
		e.records = l.limits.keys
		err = l.eachIn(state.Span{Prefix: start[:1], Start: start}, func(r *reader) bool {
			name, own, _ := bytes.Cut(r.key[1:], []byte{0})
			switch {
			case owner.Plugin == "" && last != "" && (e.spent() || len(all.Owners) == mostOwners):
				all.Next = last
				return false
			case owner.Plugin == "":
				owner.Plugin, more = string(name), true
			case owner.Plugin != string(name):
				return false
			case e.spent():
				owner.More = true
				return false
			}
			if entry.OwnState(owner.Plugin) {
				return false
			}
			e.read(r)
			owner.Keys++
			owner.Bytes += int64(len(own) + len(r.b))
			return true
		})
		if err != nil {
			return all, err
		}
		if more {
			if last = owner.Plugin; owner.Keys > 0 {
				all.Owners = append(all.Owners, owner)
			}
			start = pastOwner(last)
		}
	}
	return all, nil
}

// pastOwner is a key after all of an owner's state, and before that of the next one.
func pastOwner(name string) []byte {
	return append(append([]byte{kindValue}, name...), 1) // each key goes on with a zero byte
}
