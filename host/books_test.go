package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"balhost/host/internal/ccssim"
)

// Two books are kept outside the host: the simulator's, of what devices sent
// and got, and the scribe's, of what it was given. What the host promises is
// judged from these alone.

// checkAnswers says what is wrong with the answers that a device got: it must
// have one for each upstream that it sent (P8), always under the same message
// id (P7), and, where inOrder is asked for, in the order that it sent them in
// (P5). An answer that comes again under its id is no second one (P3).
func checkAnswers(d ccssim.DeviceReport, inOrder bool) error {
	if len(d.Unacked) > 0 {
		return fmt.Errorf("%s: %d of its upstreams are not acked", d.Token, len(d.Unacked))
	}
	ids, last := map[int]string{}, 0
	for _, r := range d.Last {
		var data struct{ N string }
		if err := json.Unmarshal(r.Data, &data); err != nil {
			return fmt.Errorf("%s got %s: %w", d.Token, r.Data, err)
		}
		n, err := strconv.Atoi(data.N)
		switch {
		case err != nil || n < 1 || n > int(d.Sent):
			return fmt.Errorf("%s got an answer to %q, but it sent 1 to %d", d.Token, data.N, d.Sent)
		case ids[n] == "" && inOrder && n != last+1:
			return fmt.Errorf("%s got the answer to %d behind that to %d (P5)", d.Token, n, last)
		case ids[n] == "":
			ids[n], last = r.MessageID, n
		case ids[n] != r.MessageID:
			return fmt.Errorf("%s got two answers to %d: %s and %s (P7)", d.Token, n, ids[n], r.MessageID)
		}
	}
	if len(ids) != int(d.Sent) {
		return fmt.Errorf("%s sent %d and has answers to %d (P8)", d.Token, d.Sent, len(ids))
	}
	return nil
}

// handling is one line of the scribe's book: a handling began or ended.
type handling struct {
	what     string // begin, end
	instance string // which process; begins with its number
	device   string
	n        int
	event    string
}

func (h handling) pid() int {
	text, _, _ := strings.Cut(h.instance, "-")
	pid, _ := strconv.Atoi(text) // the scribe has written it
	return pid
}

// readBook gives the lines so far; a missing book has none.
func readBook(name string) (lines []handling, err error) {
	f, err := os.Open(name)
	if os.IsNotExist(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		var h handling
		if _, err := fmt.Sscan(in.Text(), &h.what, &h.instance, &h.device, &h.n, &h.event); err != nil {
			return nil, fmt.Errorf("book's line %q: %w", in.Text(), err)
		}
		lines = append(lines, h)
	}
	return lines, nil
}

// checkBook says what is wrong with the handlings of all devices' upstreams.
func checkBook(book []handling, sent map[string]int) error {
	type upstream struct {
		device string
		n      int
	}
	var (
		event   = map[upstream]string{} // the event it is stored as
		stored  = map[string]upstream{} // the other way round
		newest  = map[string]int{}      // by device: the upstream that was begun last
		open    = map[string]int{}      // by device: the upstream begun and not ended by this process
		current string                  // the process that writes
		over    = map[string]bool{}     // those before it
	)
	for i, h := range book {
		if h.instance != current {
			if over[h.instance] {
				return fmt.Errorf("line %d: process %s handles %s's %d while a later one does already (P5)", i+1, h.instance, h.device, h.n)
			}
			over[current], current = true, h.instance
			clear(open) // died with their process
		}
		u := upstream{h.device, h.n}
		if event[u] == "" && stored[h.event] == (upstream{}) {
			event[u], stored[h.event] = h.event, u
		}
		switch {
		case event[u] != h.event || stored[h.event] != u:
			return fmt.Errorf("line %d: %s's %d is event %s, and was %s: stored twice (P6)", i+1, h.device, h.n, h.event, event[u])
		case h.what == "end" && open[h.device] != h.n:
			return fmt.Errorf("line %d: %s's %d ends, but %d was begun (P5)", i+1, h.device, h.n, open[h.device])
		case h.what == "end":
			delete(open, h.device)
		case open[h.device] != 0:
			return fmt.Errorf("line %d: %s's %d begins while %d is handled (P5)", i+1, h.device, h.n, open[h.device])
		case h.n != newest[h.device] && h.n != newest[h.device]+1:
			return fmt.Errorf("line %d: %s's %d begins behind %d (P5, or P1 if one is lost)", i+1, h.device, h.n, newest[h.device])
		default:
			open[h.device], newest[h.device] = h.n, h.n
		}
	}
	for device, n := range sent {
		if newest[device] != n {
			return fmt.Errorf("%s sent %d, and %d is the last that was handled (P8)", device, n, newest[device])
		}
	}
	return nil
}

// torn counts the handlings that a process began and did not end.
func torn(book []handling, instance string) (n int) {
	for _, h := range book {
		switch {
		case h.instance != instance:
		case h.what == "begin":
			n++
		default:
			n--
		}
	}
	return n
}

// The judges themselves can be wrong: each finds what it is there for.
func TestBooks(t *testing.T) {
	for _, tc := range []struct{ book, says string }{
		{"begin 1-a d 1 E1; end 1-a d 1 E1; begin 1-a d 2 E2; begin 1-a e 1 F1; end 1-a d 2 E2; end 1-a e 1 F1", ""},
		{"begin 1-a d 1 E1; begin 2-b d 1 E1; end 2-b d 1 E1; begin 2-b d 2 E2; end 2-b d 2 E2; begin 2-b e 1 F1", ""},
		{"begin 1-a d 1 E1; end 1-a d 1 E1; begin 1-a d 1 E1; end 1-a d 1 E1; begin 1-a d 2 E2; begin 1-a e 1 F1", ""},
		{"begin 1-a d 1 E1; begin 1-a e 1 F1", "d sent 2, and 1 is the last"},
		{"begin 1-a d 2 E2", "2 begins behind 0"},
		{"begin 1-a d 1 E1; end 1-a d 1 E1; begin 1-a d 2 E2; end 1-a d 2 E2; begin 1-a d 1 E1", "1 begins behind 2"},
		{"begin 1-a d 1 E1; begin 1-a d 2 E2", "begins while 1 is handled"},
		{"begin 1-a d 1 E1; begin 2-b d 1 E1; end 1-a d 1 E1", "while a later one does already"},
		{"begin 1-a d 1 E1; end 1-a d 1 E1; begin 1-a d 1 E9", "stored twice"},
		{"begin 1-a d 1 E1; end 1-a d 1 E1; begin 1-a d 2 E1", "stored twice"},
		{"begin 1-a d 1 E1; begin 2-b d 1 E1; end 2-b d 1 E1; end 2-b d 1 E1", "1 ends, but 0 was begun"},
	} {
		name := filepath.Join(t.TempDir(), "book")
		write(t, name, strings.ReplaceAll(tc.book, "; ", "\n")+"\n", 0o600)
		book, err := readBook(name)
		if err == nil {
			err = checkBook(book, map[string]int{"d": 2, "e": 1})
		}
		if fmt.Sprint(err) != "<nil>" && tc.says == "" || tc.says != "" && !strings.Contains(fmt.Sprint(err), tc.says) {
			t.Errorf("%s: %v, want %q", tc.book, err, tc.says)
		}
	}
	got := func(ids string) (d ccssim.DeviceReport) { // "n=id n=id"
		d.Token, d.Sent = "d", 3
		for _, pair := range strings.Fields(ids) {
			n, id, _ := strings.Cut(pair, "=")
			d.Last = append(d.Last, ccssim.Received{MessageID: id, Data: fmt.Appendf(nil, `{"n":%q}`, n)})
		}
		return d
	}
	for ids, says := range map[string]string{
		"1=a 2=b 2=b 3=c": "",
		"1=a 2=b 1=a 3=c": "",
		"1=a 3=c 2=b":     "answer to 3 behind that to 1",
		"1=a 2=b":         "sent 3 and has answers to 2",
		"1=a 2=b 2=x 3=c": "two answers to 2: b and x",
		"1=a 2=b 4=d":     "answer to \"4\"",
	} {
		if err := checkAnswers(got(ids), true); fmt.Sprint(err) != "<nil>" && says == "" || says != "" && !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("%s: %v, want %q", ids, err, says)
		}
	}
	unacked := got("1=a 2=b 3=c")
	if unacked.Unacked = []string{"m"}; checkAnswers(unacked, false) == nil {
		t.Error("an upstream that is not acked is not found")
	}
}
