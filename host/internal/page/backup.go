package page

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"balhost/host/internal/admin"
)

// backups are those that were ordered on this page: the one that runs, and the last one.
type backups struct {
	mu      sync.Mutex // guards what follows
	running *taking
	last    *taking
}

// taking is one backup on its way to a browser.
type taking struct {
	Name         string // of its file
	Began, Ended time.Time
	Bytes        int64
	Wrong        string // why it ended before its end; "": it is whole
}

// begin notes that one runs. false: another one does.
func (b *backups) begin(now time.Time) (*taking, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running != nil {
		return nil, false
	}
	b.running = &taking{Name: "balhost-" + now.Local().Format("2006-01-02-1504") + ".bak", Began: now}
	return b.running, true
}

// grow notes that more of the one that runs was taken by its browser.
func (b *backups) grow(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running.Bytes += int64(n)
}

func (b *backups) end(now time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last, b.running = b.running, nil
	if b.last.Ended = now; err != nil {
		b.last.Wrong = err.Error()
	}
}

// backupPage is what there is to say of backups.
type backupPage struct{ Running, Last *taking }

func (b *backups) page() (p backupPage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, one := range []struct {
		to   **taking
		from *taking
	}{{&p.Running, b.running}, {&p.Last, b.last}} {
		if one.from != nil {
			copied := *one.from
			*one.to = &copied
		}
	}
	return p
}

func (p *Pages) backupForm(w http.ResponseWriter, r *http.Request) {
	v := p.view(r, "Backup", "backup")
	v.Page = p.backups.page()
	p.show(w, "backup", v)
}

// backup answers with a backup as a file. The browser shows how much of it has come; so does
// the page. One that is cut off is told as such by both.
func (p *Pages) backup(w http.ResponseWriter, r *http.Request) {
	one, ok := p.backups.begin(time.Now())
	if !ok {
		p.fail(w, r, wrong("a backup runs already: wait until it is done"))
		return
	}
	to := &attachment{w: w, name: one.Name, kind: "application/octet-stream", took: p.backups.grow}
	err := p.Backup(r.Context(), to, admin.DefaultRate)
	p.backups.end(time.Now(), err)
	if err == nil {
		admin.Did(r, "took a backup of %d bytes", p.backups.page().Last.Bytes)
		return
	}
	to.fail(p, r, err)
}

// attachment is an answer that a browser saves as a file. Nothing is sent before there is
// something to save, so that an error can still be shown.
type attachment struct {
	w          http.ResponseWriter
	name, kind string
	took       func(int) // is told how many bytes the browser took; nil: nobody is
	begun      bool
}

func (a *attachment) Write(b []byte) (int, error) {
	if !a.begun {
		a.begun = true
		a.w.Header().Set("Content-Type", a.kind)
		a.w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", a.name))
	}
	admin.WriteWithin(a.w)
	n, err := a.w.Write(b)
	if a.took != nil {
		a.took(n)
	}
	return n, err
}

// fail shows why there is no file, or cuts it off: then the browser says that it has failed.
func (a *attachment) fail(p *Pages, r *http.Request, err error) {
	if !a.begun {
		p.fail(a.w, r, err)
		return
	}
	panic(http.ErrAbortHandler) // this is how net/http cuts an answer off
}

var _ io.Writer = (*attachment)(nil)
