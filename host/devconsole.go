package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/config"
	"balhost/host/internal/fcmsim"
	"balhost/host/internal/plain"
)

// console takes the place of dev's view while a person works on plugins: it prints
// what becomes of them, what they log, and what virtual devices get.
type console struct {
	view
	workshop
	mu    sync.Mutex      // guards typed
	typed map[string]bool // the devices that a person has named
}

func newConsole(own workshop, v view) *console {
	return &console{view: v, workshop: own, typed: map[string]bool{}}
}

// logger logs to the file to, and prints what concerns the plugins where a person looks on.
func (c *console) logger(l config.Log, to io.Writer) hclog.Logger {
	if len(c.sources) == 0 || !c.live {
		return newLogger(l, to)
	}
	l.Format = "text" // heard reads it
	return newLogger(l, heard{to, c})
}

// tell prints one line, which may have text of others in it.
func (c *console) tell(line string) {
	fmt.Fprintf(c.out, "%s %s\n", time.Now().Format(time.TimeOnly), plain.Text(line))
}

// greet says what a person can do here.
func (c *console) greet(in io.Reader) {
	if len(c.sources) == 0 {
		return
	}
	for _, s := range c.sources {
		c.tell(fmt.Sprintf("balhost dev: each save in %s builds %s and swaps it in; Ctrl-C stops", s.Path, s.Name))
	}
	c.tell(fmt.Sprintf("balhost dev: control at http://%s, API at %s", c.http, adminURL(c.config.Admin)))
	if c.live {
		c.tell(fmt.Sprintf("balhost dev: the whole log is in %s", filepath.Join(c.config.DataDir, devLogName)))
	}
	if c.reads(in) {
		c.tell(`balhost dev: type what a virtual device sends, such as: phone-1 {"hello":"world"}`)
	}
}

// reads reports whether what comes in is sent.
func (c *console) reads(in io.Reader) bool { return c.stdin || typedInto(in) }

// run sends what is typed, and ends with ctx, or when nobody reads any more.
func (c *console) run(ctx context.Context, in io.Reader) error {
	if len(c.sources) == 0 {
		return c.view.run(ctx)
	}
	if c.reads(in) {
		signal.Ignore(syscall.SIGTTIN) // in the background, a read of the terminal would stop this process
		go c.read(ctx, in)             //house:go a read of stdin can't be ended; it ends with the process
	}
	tick := time.NewTicker(lines)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if unread(c.file) {
				return errUnread
			}
		}
	}
}

// shows reports whether a person wants to see what a device gets: everything while no
// other devices send, and else what was typed for.
func (c *console) shows(target string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sources) > 0 && (!c.crowded || c.typed[target])
}

// received hears what the simulators deliver.
func (c *console) received(target string, data, notification []byte) {
	if !c.shows(target) {
		return
	}
	text := string(data)
	if len(notification) > 0 {
		text = strings.TrimLeft(text+" notification "+string(notification), " ")
	}
	c.tell(target + " ← " + text)
}

// byCCS is the hook of the simulator of CCS.
func (c *console) byCCS(target string, r ccssim.Received) {
	c.received(target, r.Data, r.Notification)
}

// byFCM is the hook of FCM's simulators. What the host has added to the data is for the
// app's library.
func (c *console) byFCM(target string, r fcmsim.Received) {
	if !c.shows(target) {
		return
	}
	data := maps.Clone(r.Data)
	maps.DeleteFunc(data, func(key, _ string) bool { return strings.HasPrefix(key, "bal_") })
	var text []byte
	if len(data) > 0 || len(r.Notification) == 0 {
		text, _ = json.Marshal(data) // texts
	}
	c.received(target, text, r.Notification)
}

// heard is a writer that gets the host's log, and prints what concerns the plugins, and
// what went wrong.
type heard struct {
	io.Writer // the log's file
	console   *console
}

func (h heard) Write(record []byte) (int, error) {
	_, line, found := strings.Cut(strings.TrimRight(string(record), "\n"), " [") // after the time
	concerns := strings.HasPrefix(line, "WARN") || strings.HasPrefix(line, "ERROR")
	for _, s := range h.console.sources {
		concerns = concerns || strings.Contains(line+" ", " plugin="+s.Name+" ")
	}
	if found && concerns {
		line = "[" + strings.Replace(line, "balhost.plugin: ", "", 1)
		for row := range strings.SplitSeq(line, "\n") {
			h.console.tell(row)
		}
	}
	return h.Writer.Write(record)
}

// typedInto reports whether a person can type into in.
func typedInto(in io.Reader) bool {
	f, ok := in.(terminal)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}
