package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"balhost/host/internal/admin"
	"balhost/host/internal/ccssim"
	"balhost/host/internal/config"
	"balhost/host/internal/plain"
)

// view shows what dev runs: redrawn on a terminal, else as a line every few seconds.
type view struct {
	out     io.Writer // never blocks
	file    io.Writer // where out writes to
	live    bool
	sim     *ccssim.Server
	phones  phones
	gateway devGateway
	host    *admin.Client
	config  config.Config
	http    string
}

// errUnread means that nobody reads what dev shows any more.
var errUnread = errors.New("nobody reads stdout any more")

// sample is the counts of the simulator and the host at one moment.
type sample struct {
	at     time.Time
	counts ccssim.Counts
	phones uint64 // messages at virtual phones
	status admin.Status
	err    error // of the host's API
}

const (
	redraw  = 500 * time.Millisecond
	lines   = 2 * time.Second
	altOn   = "\x1b[?1049h\x1b[?25l\x1b[?7l" // a screen of its own, no cursor, no wrapping
	altOff  = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	home    = "\x1b[H"
	eraseEL = "\x1b[K\n"
	eraseED = "\x1b[J"
)

func (v *view) run(ctx context.Context) error {
	every := lines
	text := plain.Writer{W: v.out} // text from others must go through it or through fit
	if v.live {
		every = redraw
		fmt.Fprint(v.out, altOn)
	} else {
		fmt.Fprintf(text, "balhost dev: simulator at %s (Google shut down its CCS in 2024), control at http://%s, API at %s, plugins from %s; interrupt to stop\n",
			v.sim.Addr(), v.http, adminURL(v.config.Admin), v.config.PluginsDir)
		for _, s := range v.config.Sessions {
			if s.FCMv1 != nil {
				fmt.Fprintf(text, "balhost dev: session %q sends to virtual phones by FCM's HTTP v1; control at http://%s/fcm/%s\n", s.Name, v.http, s.Name)
			}
			if s.Gateway != nil {
				fmt.Fprintf(text, "balhost dev: session %q has a gateway for devices at %s\n", s.Name, s.Gateway.Listen)
			}
		}
		if v.gateway.session != "" {
			fmt.Fprintf(text, "balhost dev: chat in your browser: %s (gateway http://%s, token %s)\n", v.gateway.chat(), v.gateway.listen, devToken)
		}
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	first := v.sample(ctx)
	last := first
	for {
		select {
		case <-tick.C:
			now := v.sample(ctx)
			if v.live {
				width, height := terminalSize(v.file)
				rows := fit(v.screen(last, now, height), width, height)
				fmt.Fprint(v.out, home+strings.Join(rows, eraseEL)+eraseED)
			} else {
				fmt.Fprintln(text, summary(last, now))
			}
			last = now
			if unread(v.file) {
				return errUnread
			}
		case <-ctx.Done():
			if v.live {
				fmt.Fprint(v.out, altOff)
			}
			total := v.sim.Counts()
			fmt.Fprintf(text, "balhost dev: stopping after %s; %d upstreams acked by the host, %d downstreams taken by the simulator, %d messages at virtual phones\n",
				time.Since(first.at).Round(time.Second), total.Acked, total.AckedDown, v.phones.delivered())
			return nil
		}
	}
}

func (v *view) sample(ctx context.Context) sample {
	s := sample{at: time.Now(), counts: v.sim.Counts(), phones: v.phones.delivered()}
	s.status, s.err = v.host.Status(ctx)
	return s
}

// rate is how much a counter grew each second between two samples.
func rate(last, now sample, counter func(sample) uint64) float64 {
	return float64(counter(now)-counter(last)) / max(now.at.Sub(last.at).Seconds(), 0.001)
}

func acked(s sample) uint64 { return s.counts.Acked }
func taken(s sample) uint64 { return s.counts.AckedDown }

func handledBy(name string) func(sample) uint64 {
	return func(s sample) uint64 {
		for _, p := range s.status.Plugins {
			if p.Name == name {
				return p.Handled
			}
		}
		return 0
	}
}

// summary is the whole state in one line, for logs and pipes.
func summary(last, now sample) string {
	var text strings.Builder
	fmt.Fprintf(&text, "up %.0f/s (%d)  down %.0f/s (%d)  phones %d", rate(last, now, acked), now.counts.Acked, rate(last, now, taken), now.counts.AckedDown, now.phones)
	if now.err != nil {
		return text.String() + "  host: starting"
	}
	l := now.status.Ledger
	for _, s := range now.status.Sessions {
		if g := s.Gateway; g != nil {
			fmt.Fprintf(&text, "  gateway %d up, %d down", g.Stored, g.Acked)
		}
	}
	fmt.Fprintf(&text, "  pending %d events, %d downstreams  dead %d ", l.Events, l.Downstreams, l.Dead)
	for _, p := range now.status.Plugins {
		fmt.Fprintf(&text, " %s=%s", p.Name, p.State)
	}
	return text.String()
}

// screen is the live view, line by line, the most important first. The last messages
// fill the rest of the height.
func (v *view) screen(last, now sample, height int) (rows []string) {
	add := func(format string, args ...any) { rows = append(rows, fmt.Sprintf(format, args...)) }
	add("balhost dev · Ctrl-C stops it")
	if now.err != nil {
		add("host       starting: %s", now.err.Error())
	}
	for _, reason := range now.status.Reasons {
		add("! %s", reason)
	}
	if len(withCCS(v.config.Sessions)) > 0 {
		add("simulator  %s, control http://%s   (Google shut down its CCS in 2024; this one runs here)", v.sim.Addr(), v.http)
	} else {
		add("control    http://%s   (no session has a block ccs, so nobody uses the CCS simulator)", v.http)
	}
	if now.err != nil {
		return rows
	}
	add("host       API %s, plugins %s", adminURL(v.config.Admin), v.config.PluginsDir)
	for _, s := range now.status.Sessions {
		for _, c := range s.Connections {
			add("session    %s, connection %d: %s, %d of %d unanswered; ack p50 %.1f ms, p99 %.1f ms", s.Name, c.Number, c.State, c.InFlight, c.Window, s.AckP50, s.AckP99)
		}
		if f := s.FCMv1; f != nil {
			add("session    %s, FCM v1 %s: %d of %d unanswered, %d taken; control http://%s/fcm/%s", s.Name, s.Address, f.InFlight, f.Window, s.Answered, v.http, s.Name)
		}
		if g := s.Gateway; g != nil {
			add("session    %s, gateway %s: %d sockets, %d upstreams, %d receipts, %d of %d downstreams acked", s.Name, g.Address, g.Sockets, g.Stored, g.Receipts, g.Acked, g.Downstreams)
		}
	}
	if v.gateway.session != "" {
		add("chat       %s in your browser; token %s", v.gateway.chat(), devToken)
	}
	l := now.status.Ledger
	add("")
	add("upstream   %7.0f/s  %9d acked    %6d pending  %d dead", rate(last, now, acked), now.counts.Acked, l.Events, l.Dead)
	add("downstream %7.0f/s  %9d answered %6d waiting", rate(last, now, taken), now.counts.AckedDown, l.Downstreams)
	add("to phones            %9d delivered", now.phones)
	add("")
	add("%-14s %-10s %9s %9s %9s %9s", "PLUGIN", "STATE", "RATE", "HANDLED", "PENDING", "IN FLIGHT")
	for _, p := range now.status.Plugins {
		add("%-14s %-10s %7.0f/s %9d %9d %9d %s", p.Name, p.State, rate(last, now, handledBy(p.Name)), p.Handled, p.Pending, p.InFlight, p.Reason)
	}
	for _, h := range now.status.Holding {
		add("waiting for a plugin: %d %s", h.Pending, ofCategory(h.Category))
	}
	if room := height - len(rows) - 2; room > 0 {
		add("")
		add("last messages")
		rows = append(rows, lastMessages(v.sim.Transcript(), room)...)
	}
	return rows
}

// fit makes rows safe for a terminal and fit its size. It removes blank rows first, then the last ones, and
// cuts long ones. The last column stays free, because terminals treat it differently.
func fit(rows []string, width, height int) []string {
	for i := len(rows) - 1; i >= 0 && len(rows) > height; i-- {
		if rows[i] == "" {
			rows = slices.Delete(rows, i, i+1)
		}
	}
	if hidden := len(rows) - height; hidden > 0 {
		rows = append(rows[:height-1], fmt.Sprintf("… %d lines don't fit here", hidden+1))
	}
	for i, row := range rows {
		rows[i] = cut(plain.Text(row), width-1)
	}
	return rows
}

// cut shortens a line to that many columns. Characters that may be two columns wide
// count as two.
func cut(row string, width int) string {
	used, short := 0, 0 // columns; bytes that leave space for the dots
	for i, r := range row {
		if used < width {
			short = i
		}
		if used++; r >= 0x1100 && (r < 0x2000 || r >= 0x2300) { // dots and arrows are between these two
			used++
		}
		if used > width {
			return row[:short] + "…"
		}
	}
	return row
}

// terminal is a writer that may be a terminal.
type terminal interface {
	Stat() (os.FileInfo, error)
	Fd() uintptr
}

// terminalSize is how many columns and lines there are; if that is unknown, the
// traditional size.
func terminalSize(out io.Writer) (width, height int) {
	if f, ok := behind(out).(terminal); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 && size.Row > 0 {
			return int(size.Col), int(size.Row)
		}
	}
	return 80, 24
}

var gcmText = regexp.MustCompile(`(?s)google:mobile:data[^>]*>(.*?)</`)

// lastMessages are the last payloads that passed, without acks.
func lastMessages(passed []ccssim.Line, n int) []string {
	var rows []string
	for i := len(passed) - 1; i >= 0 && len(rows) < n; i-- {
		found := gcmText.FindStringSubmatch(passed[i].Stanza)
		if found == nil {
			continue
		}
		text := strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&amp;", "&").Replace(found[1])
		var payload struct {
			From, To    string
			MessageType string `json:"message_type"`
			Data        json.RawMessage
		}
		if json.Unmarshal([]byte(text), &payload) != nil || payload.MessageType != "" {
			continue
		}
		who, arrow := payload.To, "→"
		if passed[i].Sent {
			who, arrow = payload.From, "←"
		}
		rows = append(rows, fmt.Sprintf("%s %s %-12s %s", passed[i].Time.Format("15:04:05"), arrow, who, string(payload.Data)))
	}
	return rows
}

// isTerminal reports whether out is a terminal, which people look at.
func isTerminal(out io.Writer) bool {
	f, ok := behind(out).(terminal)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
