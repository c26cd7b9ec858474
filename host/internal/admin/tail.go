package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"balhost/host/internal/feed"
	"balhost/host/internal/plain"
)

// Step is one thing that happened to a message, a plugin or a session.
type Step = feed.Step

// TailQuery says which steps a reader wants. What is empty excludes nothing.
type TailQuery struct {
	What     []feed.What
	Kinds    []string
	ID       string // of the event or of the message
	Device   string // its token, or the beginning of it
	Category string
	Plugin   string
	Session  string // its name
	Text     string // is in the error or the code
	Bodies   bool   // with the beginning of each body
	Full     bool   // with whole tokens
}

// Tailing is a reading of steps.
type Tailing interface {
	// Ready receives when Take may find something.
	Ready() <-chan struct{}
	// Take returns what has come, and how many steps behind that were skipped.
	Take() (steps []Step, skipped uint64)
	Close()
}

// Hello is the first event of a tail.
type Hello struct {
	Now  time.Time `json:"now"` // by the host's clock
	Note string    `json:"note"`
}

// Skipped is an event of a tail: so many steps were lost here, because the reader was slow.
type Skipped struct {
	Skipped uint64 `json:"skipped"`
}

// Ended is the last event of a tail that the host ends.
type Ended struct {
	Reason string `json:"reason"`
}

const (
	tailNote = "steps from now on; a stream can't be resumed, so Last-Event-ID means nothing, and what happens between two streams is not told"
	tailEnds = "the host stops"
)

func (a api) tail(w http.ResponseWriter, r *http.Request) {
	q := tailQuery(r.URL.Query())
	reading, err := a.Tail(q)
	if errors.Is(err, feed.ErrReaders) {
		fail(w, http.StatusServiceUnavailable, err)
		return
	} else if err != nil {
		a.failed(w, r, err)
		return
	}
	defer reading.Close()
	s := a.streams.begin(w, r)
	if s == nil {
		return
	}
	defer s.close()
	s.event("hello", Hello{Now: time.Now(), Note: tailNote})
	a.follow(r.Context(), s, reading, q.Full)
}

// follow writes what is read, until one of both ends goes.
func (a api) follow(ctx context.Context, s *stream, reading Tailing, full bool) {
	alive := time.NewTicker(beat)
	defer alive.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	ready := reading.Ready()
	for s.flush() == nil {
		select {
		case <-ready:
			steps, skipped := reading.Take()
			for i := range steps {
				if !full {
					steps[i].Device = plain.Brief(steps[i].Device)
				}
				s.event("step", &steps[i])
			}
			if skipped > 0 {
				s.event("skipped", Skipped{skipped})
			}
			ready = nil
			pause.Reset(gather)
		case <-pause.C:
			ready = reading.Ready()
		case <-alive.C:
			s.alive()
		case <-ctx.Done():
			return
		case <-a.streams.ending:
			s.event("end", Ended{tailEnds})
			_ = s.flush()
			return
		}
	}
}

// tailParameters are what a tail's query may have.
func tailParameters() []parameter {
	return []parameter{
		list("what", "only steps of these sorts", textsOf(feed.Whats)...),
		list("kind", "only steps of these", feed.Kinds...),
		text("id", "only the event or the message with this id"),
		text("device", "only this device: its token, or the beginning of it"),
		text("category", "only this category"),
		text("plugin", "only this plugin"),
		text("session", "only the session with this name"),
		text("text", "only steps with this text in the error or the code"),
		yes("bodies", "with the beginning of each body").needs(Operate),
		yes("full", "with whole tokens").needs(Operate),
	}
}

// tailQuery reads a query that has passed checkQuery.
func tailQuery(v url.Values) TailQuery {
	q := TailQuery{
		Kinds: wordsOf(v.Get("kind")), ID: v.Get("id"), Device: v.Get("device"), Category: v.Get("category"), Plugin: v.Get("plugin"),
		Session: v.Get("session"), Text: v.Get("text"), Bodies: v.Get("bodies") == "true", Full: v.Get("full") == "true",
	}
	for _, word := range wordsOf(v.Get("what")) {
		q.What = append(q.What, feed.What(word))
	}
	return q
}

// values is the query that tailQuery reads.
func (q TailQuery) values() url.Values {
	v := url.Values{}
	for name, text := range map[string]string{
		"id": q.ID, "device": q.Device, "category": q.Category, "plugin": q.Plugin, "session": q.Session, "text": q.Text,
		"what": strings.Join(textsOf(q.What), ","), "kind": strings.Join(q.Kinds, ","),
	} {
		if text != "" {
			v.Set(name, text)
		}
	}
	for name, on := range map[string]bool{"bodies": q.Bodies, "full": q.Full} {
		if on {
			v.Set(name, "true")
		}
	}
	return v
}

// textsOf are words as strings.
func textsOf[T ~string](words []T) []string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = string(w)
	}
	return all
}

// TailEvent is one event of a tail. One field is set.
type TailEvent struct {
	Hello   *Hello
	Step    *Step
	Skipped uint64
	Ended   *Ended
}

// Tail calls each for every event of a tail, until each returns an error, ctx ends, or the
// host goes. Its error is why it ended, never nil: io.EOF when the host has said that it
// stops, a Refusal when it does not let us read.
func (c *Client) Tail(ctx context.Context, q TailQuery, each func(TailEvent) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(3*beat, func() { cancel(fmt.Errorf("the host at %s has sent nothing for %s", c.listen, 3*beat)) })
	defer watch.Stop()
	resp, err := c.long().send(ctx, http.MethodGet, "/v1/tail?"+q.values().Encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return Refusal{Err: c.decode(resp, nil)}
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxBody)
	lines.Split(wholeLines)
	for name := ""; lines.Scan(); {
		watch.Reset(3 * beat)
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			name = value
		case "data":
			e, err := tailEvent(name, value)
			if err == nil {
				err = each(e)
			}
			if err == nil && e.Ended != nil {
				err = io.EOF
			}
			if err != nil {
				return err
			}
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return fmt.Errorf("the tail of the host at %s has ended: %w", c.listen, errors.Join(lines.Err(), io.ErrUnexpectedEOF))
}

// wholeLines is a [bufio.SplitFunc] for lines. The last one does not count if it has no end: the
// stream was cut off in it.
func wholeLines(data []byte, atEOF bool) (advance int, line []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF {
		return len(data), nil, nil
	}
	return 0, nil, nil
}

// tailEvent decodes one event. One of a later host's has no field set.
func tailEvent(name, data string) (e TailEvent, err error) {
	switch name {
	case "hello":
		err = json.Unmarshal([]byte(data), &e.Hello)
	case "step":
		err = json.Unmarshal([]byte(data), &e.Step)
	case "skipped":
		var s Skipped
		err = json.Unmarshal([]byte(data), &s)
		e.Skipped = s.Skipped
	case "end":
		err = json.Unmarshal([]byte(data), &e.Ended)
	}
	if err != nil {
		return e, fmt.Errorf("an event %q of the tail is not JSON: %w", name, err)
	}
	return e, nil
}
