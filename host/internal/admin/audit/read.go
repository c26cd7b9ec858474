package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"balhost/host/internal/regular"
)

// Query says which entries to read.
type Query struct {
	Since, Until time.Time // zero: no bound
	Who, Path    string    // a part of these; "": any
	Limit        int       // the newest ones

	open bool // only orders that have begun and have no end
}

func (q Query) fits(e Entry) bool {
	return (!q.open || e.Phase == Begun) && (q.Since.IsZero() || !e.At.Before(q.Since)) && (q.Until.IsZero() || e.At.Before(q.Until)) &&
		strings.Contains(e.Who, q.Who) && strings.Contains(e.Path, q.Path)
}

// Read gives the entries that fit, the oldest first, and whether older ones fit too.
func (l *Log) Read(q Query) (entries []Entry, more bool, err error) {
	if l == nil {
		return nil, false, nil
	}
	l.files.RLock()
	defer l.files.RUnlock()
	ended := map[string]bool{} // orders
	for number := 0; number <= oldFiles && !more; number++ {
		text, err := regular.Read(l.path(number), 2*maxFile)
		if os.IsNotExist(err) {
			continue
		} else if err != nil {
			return nil, false, fmt.Errorf("read the audit log: %w", err)
		}
		lines := bytes.Split(text, []byte("\n"))
		for _, line := range slices.Backward(lines) {
			var e Entry
			if len(line) == 0 || q.open && !bytes.Contains(line, []byte(`"order":"`)) || json.Unmarshal(line, &e) != nil { // a crash may have cut a line off
				continue
			}
			begun := e.Phase == Begun && !ended[e.Order]
			if e.Order != "" {
				ended[e.Order] = true
			}
			if e.Phase == Begun && !begun || !q.fits(e) {
				continue
			}
			if more = len(entries) == q.Limit; more {
				break
			}
			entries = append(entries, e)
		}
	}
	slices.Reverse(entries)
	return entries, more, nil
}
