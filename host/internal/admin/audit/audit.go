// Package audit keeps who changed what of a running host, in files that a person can read.
// They are bounded: the oldest entries go first. An entry is on disk when [Log.Add]
// returns, unless the disk does not take it. Then the host's log alone has the entry, and
// a later entry says how many are missing: a full disk must not keep anybody from making
// room on it. [Log.Run] owns the files. Start at [Open].
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	maxFile   = 4 << 20         // bytes of a file
	oldFiles  = 4               // beside the one that grows
	addTime   = 2 * time.Second // that a caller waits for the disk
	queue     = 256             // entries that wait for the disk
	together  = time.Minute     // equal entries within this time become one
	maxOwn    = 200             // entries of one caller within this time; of more, equal ones become one
	maxGroups = 500             // of equal entries
)

// Entry is one thing that somebody did, or was not allowed to do. It has no payloads
// and no tokens.
type Entry struct {
	At      time.Time `json:"at"`
	Who     string    `json:"who"`               // "token NAME", with "on the page" for a browser; a user of the socket, "loopback", "signal"; "": nobody who is known
	Address string    `json:"address,omitempty"` // from where; without a port
	Method  string    `json:"method,omitempty"`
	Path    string    `json:"path,omitempty"`
	Status  int       `json:"status,omitempty"` // of the HTTP answer: 2xx done, 401, 403 and 429 not allowed
	Did     string    `json:"did,omitempty"`    // in one sentence
	Took    float64   `json:"took_ms,omitempty"`
	Times   int       `json:"times,omitempty"` // how often this happened until At, beside the first one, which has its own entry
	Order   string    `json:"order,omitempty"` // of an order that has two entries: one when it begins and one of its end
	Phase   Phase     `json:"phase,omitempty"`
	// Often is for what may happen often: within a minute, only the first of its kind
	// is an entry, and all others become one.
	Often bool `json:"-"`
}

// Phase says of an entry that it is not of an end.
type Phase string

// The phases. What has begun, and has an end in the log, is not read from it.
const (
	Ended  Phase = ""
	Begun  Phase = "begun"
	CutOff Phase = "cut off" // the host ended before the order did
)

// group is what makes entries equal.
type group struct {
	who, address, method, path string
	status                     int
}

func (e Entry) group() group { return group{e.Who, e.Address, e.Method, e.Path, e.Status} }

// Log is the audit log. A nil Log keeps nothing.
type Log struct {
	dir string
	log hclog.Logger
	in  chan item

	files sync.RWMutex // held for writing while files are renamed, for reading while they are opened to be read

	// owned by Run
	file   *os.File
	size   int64
	groups map[group]*gathered
	lost   int                   // entries that the disk did not take
	spent  map[string]*allowance // by who
}

// allowance is how many entries of one's own somebody has had in a minute.
type allowance struct {
	since time.Time
	n     int
}

// item is an entry on its way to the disk.
type item struct {
	Entry
	done chan struct{}
}

// gathered are equal entries.
type gathered struct {
	since time.Time
	last  Entry
	more  int // beside the first
}

// Open makes a log in a folder that exists. The first entry makes the file.
func Open(dir string, log hclog.Logger) *Log {
	return &Log{dir: dir, log: log, in: make(chan item, queue), groups: map[group]*gathered{}, spent: map[string]*allowance{}}
}

// Add keeps an entry, and logs it. It returns when the entry is on disk, or after two
// seconds; or at once if it is one that happens often.
func (l *Log) Add(e Entry) {
	if l == nil {
		return
	}
	it := item{e, make(chan struct{})}
	limit := time.NewTimer(addTime)
	defer limit.Stop()
	select {
	case l.in <- it:
	case <-limit.C:
		l.say(e, "the disk does not answer")
		return
	}
	if e.Often {
		return
	}
	select {
	case <-it.done:
	case <-limit.C:
	}
}

// say puts an entry into the host's log.
func (l *Log) say(e Entry, missing string) {
	facts := []any{"who", e.Who, "address", e.Address, "method", e.Method, "path", e.Path, "code", e.Status, "did", e.Did}
	if e.Times > 0 {
		facts = append(facts, "times", e.Times)
	}
	switch {
	case missing != "":
		l.log.Error("audit: this could not be written to the audit log", append(facts, "err", missing)...)
	case e.Phase == CutOff:
		l.log.Warn("audit: an order was cut off, because the host ended", facts...)
	default:
		l.log.Info("audit", facts...)
	}
}

// cutOff writes the end of orders whose host has ended before them.
func (l *Log) cutOff(now time.Time) {
	open, _, err := l.Read(Query{open: true, Limit: maxGroups})
	if err != nil {
		l.log.Error("audit: orders that were cut off can't be found", "err", err)
		return
	}
	for _, e := range open {
		e.Did = fmt.Sprintf("cut off, because the host ended: it began at %s; look at what is done, and order it again", e.At.UTC().Format(time.DateTime))
		e.At, e.Phase = now, CutOff
		l.keep(e)
	}
}

// Run writes entries until ctx ends, and then those that wait. First it writes of each order
// that an earlier host began, and did not end, that it was cut off.
func (l *Log) Run(ctx context.Context) error {
	l.cutOff(time.Now())
	tick := time.NewTicker(together / 4)
	defer tick.Stop()
	for {
		select {
		case it := <-l.in:
			l.take(it)
		case now := <-tick.C:
			l.settle(now.Add(-together))
		case <-ctx.Done():
			for len(l.in) > 0 {
				l.take(<-l.in)
			}
			l.settle(time.Now().Add(together))
			if l.file != nil {
				l.file.Close() //nolint:errcheck // each entry was synced
			}
			return nil
		}
	}
}

// take writes an entry, or adds it to its equals.
func (l *Log) take(it item) {
	defer close(it.done)
	if !it.Often && (it.Order != "" || l.allows(it.Who, it.At)) {
		l.keep(it.Entry)
		return
	}
	key := it.group()
	if l.groups[key] == nil && len(l.groups) >= maxGroups {
		it.Who, it.Address, it.Path, it.Did = "", "", "", "of too many callers to list each"
		key = it.group()
	}
	g := l.groups[key]
	if g == nil {
		l.groups[key] = &gathered{since: it.At}
		l.keep(it.Entry)
		return
	}
	g.last, g.more = it.Entry, g.more+1
}

// allows reports whether the caller may have one more entry of its own. Nobody pushes the
// entries of others out of the files by orders that change nothing.
func (l *Log) allows(who string, now time.Time) bool {
	a := l.spent[who]
	if a == nil || now.Sub(a.since) >= together {
		a = &allowance{since: now}
		l.spent[who] = a
	}
	a.n++
	return a.n <= maxOwn
}

// settle writes what was gathered since before then.
func (l *Log) settle(then time.Time) {
	maps.DeleteFunc(l.spent, func(_ string, a *allowance) bool { return a.since.Before(then) })
	for key, g := range l.groups {
		if g.since.After(then) {
			continue
		}
		delete(l.groups, key)
		if g.more > 0 {
			g.last.Times = g.more
			l.keep(g.last)
		}
	}
}

// keep writes an entry so that it survives.
func (l *Log) keep(e Entry) {
	if l.lost > 0 && l.write(Entry{At: e.At, Who: "host", Did: fmt.Sprintf("%d entries before this could not be written; the host's log has them", l.lost)}) == nil {
		l.lost = 0
	}
	err := l.write(e)
	if err != nil {
		l.lost++
		l.say(e, err.Error())
		return
	}
	l.say(e, "")
}

// write appends one line and syncs it. A line is written completely or not at all.
func (l *Log) write(e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	line = append(line, '\n')
	if err := l.open(int64(len(line))); err != nil {
		return err
	}
	if _, err = l.file.WriteAt(line, l.size); err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		l.file.Truncate(l.size) //nolint:errcheck // the next one writes over it
		l.file.Close()          //nolint:errcheck // the error that counts is above
		l.file = nil
		return fmt.Errorf("write: %w", err)
	}
	l.size += int64(len(line))
	return nil
}

// open opens the file that grows, with room for so many bytes. A new one takes the place of one that is full.
func (l *Log) open(room int64) error {
	path := l.path(0)
	if l.file != nil && l.size+room > maxFile {
		l.file.Close() //nolint:errcheck // each entry was synced
		l.file = nil
		if err := l.rotate(); err != nil {
			return err
		}
	}
	if l.file != nil {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	size, err := end(f)
	if err != nil {
		f.Close() //nolint:errcheck // the error that counts is above
		return fmt.Errorf("open %s: %w", path, err)
	}
	l.file, l.size = f, size
	if size+room > maxFile {
		return l.open(room)
	}
	return nil
}

// end is where the last whole line ends: a crash may have cut one off.
func end(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	tail := make([]byte, min(info.Size(), 64<<10))
	if _, err := f.ReadAt(tail, info.Size()-int64(len(tail))); err != nil {
		return 0, err
	}
	for i := len(tail) - 1; i >= 0; i-- {
		if tail[i] == '\n' {
			return info.Size() - int64(len(tail)-i-1), nil
		}
	}
	return info.Size() - int64(len(tail)), nil
}

// rotate gives each file the next number; the last one goes.
func (l *Log) rotate() error {
	l.files.Lock()
	defer l.files.Unlock()
	for i := oldFiles; i > 0; i-- {
		if err := os.Rename(l.path(i-1), l.path(i)); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("make room: %w", err)
		}
	}
	return nil
}

// path is that of a file; 0 is the one that grows.
func (l *Log) path(number int) string {
	if number == 0 {
		return filepath.Join(l.dir, "audit.jsonl")
	}
	return filepath.Join(l.dir, fmt.Sprintf("audit.%d.jsonl", number))
}
