package ledger

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/keyfile"
	"balhost/sdk/message"
)

// crashDir names the variable that makes the test binary the process that is killed.
const crashDir = "BALHOST_LEDGER_CRASH"

// crashChild works on a ledger until it is killed, and says on standard output
// what it was promised: each line is written after the callback, or before the
// call where it says "will".
func crashChild() bool {
	dir := os.Getenv(crashDir)
	if dir == "" {
		return false
	}
	l, err := Open(context.Background(), Options{Dir: dir, Statfs: plenty, Key: keyOf(dir)})
	if err != nil {
		fmt.Println("error", err)
		return true
	}
	var mu sync.Mutex
	say := func(words ...string) {
		mu.Lock()
		defer mu.Unlock()
		os.Stdout.WriteString(strings.Join(words, " ") + "\n") //nolint:errcheck // the reader checks
	}
	go func() { // devices, 50 in flight
		slots := make(chan struct{}, 50)
		run := fmt.Sprint(time.Now().UnixNano())
		for i := 0; ; i++ {
			slots <- struct{}{}
			id := fmt.Sprintf("%s-%d", run, i)
			u := upstream("tokA", id, `{"n":1}`)
			l.Accept(entry.Inbound{Upstream: u}, func(err error) {
				if err == nil {
					say("stored", id)
				}
				<-slots
			})
		}
	}()
	go func() { // the outbox
		after := uint64(0)
		for {
			more := l.DownstreamsChanged()
			for _, d := range l.Downstreams(after, 100) {
				after = d.Seq
				say("will-finish", d.MessageID)
				l.Finish(entry.End{Seq: d.Seq, Status: message.Acked}, func(err error) {
					if err == nil {
						say("finished", d.MessageID)
					}
				})
			}
			<-more
		}
	}()
	credit := make(chan struct{}, 40)
	after := uint64(0)
	for { // the dispatcher: every tenth event is tried twice, and every hundredth dies
		more := l.EventsChanged()
		for _, ev := range l.Events(after, 100) {
			after = ev.Seq
			body, err := l.Body(ev.Seq)
			if errors.Is(err, entry.ErrUnknown) {
				continue // settled meanwhile: after goes back for retries
			}
			s := entry.Settlement{Seq: ev.Seq, Lease: 1, Plugin: "p", Verdict: entry.Done}
			if errors.Is(err, entry.ErrVoid) {
				s.Verdict = entry.Void
			} else if err != nil {
				say("error", err.Error())
				return true
			}
			l.Lease(ev.Seq, 1)
			id := ""
			if body.Upstream != nil {
				id = body.Upstream.MessageID
				switch {
				case ev.Seq%100 == 0:
					s.Verdict, s.Reason = entry.Dead, "unlucky"
				case ev.Seq%10 == 0 && ev.Attempts == 0:
					s.Verdict = entry.Retry
					after = 0
				default:
					s.Changes = entry.Changes{
						Sends:  []entry.Send{send("d-"+id, `{"n":"1"}`)},
						Writes: []entry.Write{{Key: "last", Value: json.RawMessage(`"` + id + `"`)}},
						Schedules: []entry.Schedule{ // some are replaced while they wait, others when they are due
							{Key: fmt.Sprint(ev.Seq % 20), At: time.Now().Add(time.Duration(ev.Seq%30) * time.Millisecond), Data: json.RawMessage("1")},
							{Key: fmt.Sprint("far", ev.Seq%20), At: time.Now().Add(time.Hour), Data: json.RawMessage("1")},
						},
					}
				}
			}
			if s.Verdict == entry.Done {
				say("will-settle", id)
			}
			credit <- struct{}{}
			l.Settle(s, func(err error) {
				if err == nil && s.Verdict == entry.Done {
					say("settled", id)
				}
				<-credit
			})
		}
		<-more
	}
}

// books is what the killed processes were promised.
type books map[string]map[string]bool

func (b books) run(t *testing.T, dir string, lines int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		what, id, _ := strings.Cut(scanner.Text(), " ")
		if what == "error" {
			t.Errorf("child: %s", id)
		}
		if b[what] == nil {
			b[what] = map[string]bool{}
		}
		b[what][id] = true
		if lines--; lines == 0 {
			cmd.Process.Kill() //nolint:errcheck // Wait tells
		}
	}
	cmd.Wait() //nolint:errcheck // killed
	if lines > 0 {
		t.Fatalf("child ended by itself, %d lines early", lines)
	}
}

// TestKill kills a process in mid-work, and checks what is on disk against what it
// was promised: P1 stored is pending, handled or dead; P2, P7 an event is handled
// exactly when its downstream is known; P4 a finished downstream does not come back.
func TestKill(t *testing.T) {
	for _, name := range []string{"plain", encryptedDir} {
		t.Run(name, func(t *testing.T) { killRounds(t, filepath.Join(t.TempDir(), name)) })
	}
}

// encryptedDir is the name of a folder with an encrypted ledger.
const encryptedDir = "encrypted"

func keyOf(dir string) *keyfile.Key {
	if filepath.Base(dir) == encryptedDir {
		return testKey
	}
	return nil
}

func killRounds(t *testing.T, dir string) {
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	b := books{}
	for round := range rounds {
		b.run(t, dir, 3000+round*1777)
		l := open(t, dir, func(o *Options) { o.Key = keyOf(dir) })
		verify(t, l)
		b.check(t, l)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	for _, what := range []string{"stored", "settled", "finished"} {
		if len(b[what]) < 100*rounds {
			t.Errorf("only %d were %s: the test shows nothing", len(b[what]), what)
		}
	}
}

func (b books) check(t *testing.T, l *Ledger) {
	t.Helper()
	pending := map[string]bool{}
	for _, ev := range l.Events(0, 1<<30) {
		body, err := l.Body(ev.Seq)
		if err != nil && !errors.Is(err, entry.ErrVoid) {
			t.Fatal(err)
		}
		if u := body.Upstream; u != nil {
			if pending[u.MessageID] {
				t.Errorf("%s is stored twice", u.MessageID) // P6
			}
			pending[u.MessageID] = true
		}
	}
	dead := map[string]bool{}
	letters, err := l.Dead("", 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range letters {
		dead[d.MessageID] = true
	}
	sending := map[string]bool{}
	for _, d := range l.Downstreams(0, 1<<30) {
		sending[d.MessageID] = true
	}
	for id := range b["stored"] {
		handled := l.knows("d-" + id)
		if !pending[id] && !handled && !dead[id] {
			t.Errorf("%s was acked and is lost", id) // P1
		}
		if handled && (pending[id] || dead[id]) {
			t.Errorf("%s was handled and may be again", id) // P7
		}
		if handled && !sending["d-"+id] && !b["will-finish"]["d-"+id] {
			t.Errorf("downstream d-%s is lost", id) // P2
		}
	}
	for id := range b["settled"] {
		if pending[id] || id != "" && !l.knows("d-"+id) {
			t.Errorf("%s was settled, which is undone", id) // P7
		}
	}
	for id := range b["finished"] {
		if sending[id] {
			t.Errorf("%s was finished and comes again", id) // P4
		}
	}
}

// knows reports whether a downstream with this id was accepted.
func (l *Ledger) knows(id string) bool {
	err := l.read(appendHashKey(nil, kindSent, sumSent("main", id)), func(*reader) error { return nil })
	return err == nil
}

// eraseDir names the variable that makes the test binary a process that erases until it is killed.
const eraseDir = "BALHOST_LEDGER_ERASE"

// eraseChild erases phoneA from a ledger, and says on standard output what it begins with.
func eraseChild() bool {
	dir := os.Getenv(eraseDir)
	if dir == "" {
		return false
	}
	o := Options{Dir: dir, Statfs: plenty}
	tiny(&o)
	l, err := Open(context.Background(), o)
	if err != nil {
		fmt.Println("error", err)
		return true
	}
	w := watcher
	w.Stage = func(what string) { os.Stdout.WriteString(what + "\n") } //nolint:errcheck // the reader checks
	_, err = l.Erase(context.Background(), entry.Erasure{Names: []string{phoneA, strings.Split(phoneA, ":")[0]}, Values: true}, w)
	fmt.Println("ended", err)
	return true
}

// Wherever an erasure is killed, the other device has all that it had, and the next erasure
// finishes.
func TestEraseKilled(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		dir := t.TempDir()
		l := open(t, dir, tiny)
		livesOf(t, l, phoneA, phoneB)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, dir, tiny)
		before := of(t, l, phoneB)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), eraseDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		stage := []string{"erasing", "rewriting"}[i%2]
		for lines.Scan() && !strings.HasPrefix(lines.Text(), stage) {
			if strings.HasPrefix(lines.Text(), "e") && !strings.HasPrefix(lines.Text(), "erasing") {
				t.Fatalf("the process said %q before it was killed", lines.Text())
			}
		}
		time.Sleep(time.Duration(i/2) * 7 * time.Millisecond) // a different moment each time
		cmd.Process.Kill()                                    //nolint:errcheck // it may have ended
		cmd.Wait()                                            //nolint:errcheck // it was killed
		l = open(t, dir, tiny)
		verify(t, l)
		same(t, "after the kill", of(t, l, phoneB), before)
		if did := erase(t, l, entry.Erasure{Names: []string{phoneA, strings.Split(phoneA, ":")[0]}, Values: true}); !did.Proven || did.Files != 0 {
			t.Errorf("erased %+v", did)
		}
		same(t, "after the next", of(t, l, phoneB), before)
		if files := filesWith(t, dir, phoneA); files != nil || of(t, l, phoneA) != nil {
			t.Errorf("%v still have it", files)
		}
		verify(t, l)
		l.Close() //nolint:errcheck // it was looked at
	}
}
