package ledger

import (
	"bytes"
	"context"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
)

// StateOwners says whose state there is, by name, with how many keys and bytes. The host's own
// is left out. It reads all of it, so it takes as long as that is large.
func (l *Ledger) StateOwners(ctx context.Context) (owners []entry.StateOwner, err error) {
	err = closedAs(l.state.Moment(func(m *state.Moment) error {
		return m.Scan([]byte{kindValue}, []byte{kindValue}, func(key, record []byte) (bool, error) {
			name, own, _ := bytes.Cut(key[1:], []byte{0})
			if entry.OwnState(string(name)) {
				return true, nil
			}
			if n := len(owners); n == 0 || owners[n-1].Plugin != string(name) {
				owners = append(owners, entry.StateOwner{Plugin: string(name)})
			}
			o := &owners[len(owners)-1]
			o.Keys++
			o.Bytes += int64(len(own) + len(record))
			return true, ctx.Err()
		})
	}))
	return owners, err
}
