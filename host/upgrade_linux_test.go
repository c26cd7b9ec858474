package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/ccssim"
)

// lastOfSchema6 is the last commit whose ledgers have schema 6, so coming from it changes
// the format.
const lastOfSchema6 = "e606087677d99d6628c9a5d2364ae2f239c7f9f9"

// TestUpgrade holds README's promises of upgrades and downgrades (under "Upgrading")
// against real hosts of older commits: the one before this, and the last one whose ledger
// has another schema. The older host has all kinds of messages pending when it stops, or is
// killed. This one goes on with them: with the plugin of the older SDK, and then with
// that of this one. Nothing is lost or doubled. Then the older host comes back, where it
// promises to.
//
// The older ones are built from git. A clone without its history skips the test, unless
// BALHOST_UPGRADE is "required".
func TestUpgrade(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real processes")
	}
	t.Parallel()
	this := programs{host: "balhost", schema: schemaIn(t, "..")}
	this.plugin = buildKeeper(t, ".", "-X main.more=com.example.new")
	for name, commit := range map[string]string{"the commit before": "HEAD^", "schema 6": lastOfSchema6} {
		t.Run(name, func(t *testing.T) {
			old := programsOf(t, commit)
			for _, how := range []string{"stopped", "killed"} {
				t.Run(how, func(t *testing.T) {
					t.Parallel()
					u := &upgrade{world: newSimulator(t), old: old, this: this, killed: how == "killed"}
					u.run()
				})
			}
		})
	}
}

// programs are a host, a keeper of the same tree, and the schema of the host's ledger.
type programs struct {
	host, plugin string
	schema       int
}

// programsOf builds a commit's.
func programsOf(t *testing.T, commit string) programs {
	t.Helper()
	if out, err := gitCommand(t.Context(), "rev-parse", "--verify", "--quiet", commit+"^{commit}").CombinedOutput(); err != nil {
		say := fmt.Sprintf("git does not know %s, so there is no older host to build: this clone may lack its history (%v) %s", commit, err, out)
		if os.Getenv("BALHOST_UPGRADE") == "required" {
			t.Fatal(say)
		}
		t.Skip(say)
	}
	dir := t.TempDir()
	if err := filesOf(t.Context(), commit, dir); err != nil {
		t.Fatal(err)
	}
	keeper := filepath.Join(dir, "host", "testdata", "keeper")
	if err := errors.Join(os.RemoveAll(keeper), os.CopyFS(keeper, os.DirFS("testdata/keeper"))); err != nil {
		t.Fatal(err)
	}
	p := programs{host: filepath.Join(dir, "balhost"), schema: schemaIn(t, dir)}
	goBuild(t, filepath.Join(dir, "host"), p.host, ".", "")
	p.plugin = buildKeeper(t, filepath.Join(dir, "host"), "-X main.build=older")
	return p
}

func buildKeeper(t *testing.T, host, variables string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "keeper")
	goBuild(t, host, program, "./testdata/keeper", variables)
	return program
}

// goBuild builds with paths trimmed: so what a commit was built of once is in Go's cache,
// wherever its files are.
func goBuild(t *testing.T, dir, program, source, variables string) {
	t.Helper()
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w "+variables, "-o", program, source)
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s in %s: %v\n%s", source, dir, err, out)
	}
}

func schemaIn(t *testing.T, tree string) int {
	t.Helper()
	found := regexp.MustCompile(`(?m)^\s+schema +(?:uint16 +)?= (\d+)$`).FindStringSubmatch(readFile(t, filepath.Join(tree, "host/internal/ledger/store.go")))
	if found == nil {
		t.Fatal("store.go does not say its schema")
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// upgrade is one way from an older host to this one and back.
type upgrade struct {
	*world
	old, this programs
	killed    bool
	admin     string // where the host that runs can be asked
	early     string // the downstream that waits for tomorrow
	backup    string
	pending   admin.Ledger // when the backup was taken
}

func (u *upgrade) run() {
	u.furnish()
	u.begin(u.old)
	u.fill()
	u.end(u.killed)

	u.sim.ClearNacks()
	u.begin(u.this)
	u.inherited()
	u.goOn()
	if !u.ran("-older") {
		u.t.Error("no plugin of the older SDK has run under this host")
	}
	u.deploy(u.this)
	u.finish()
	u.judge()
	u.end(false)
	u.verify(u.this)

	u.back()
}

// furnish makes the folder: a config that both hosts read, and the older plugin.
func (u *upgrade) furnish() {
	u.t.Helper()
	config := usualConfig + fmt.Sprintf("plugin \"keeper\" {\n  suspect_after = 1000\n  config        = { books = %q }\n}\n", u.dir)
	if err := os.Mkdir(filepath.Join(u.dir, "plugins"), 0o700); err != nil {
		u.t.Fatal(err)
	}
	write(u.t, filepath.Join(u.dir, "config.hcl"), config, 0o600)
	u.put(u.old)
}

// put writes the plugin of one side into the plugins folder.
func (u *upgrade) put(p programs) {
	u.t.Helper()
	content, err := os.ReadFile(p.plugin)
	if err == nil {
		err = replace(filepath.Join(u.dir, "plugins", "keeper"), content)
	}
	if err != nil {
		u.t.Fatal(err)
	}
}

func (u *upgrade) ccs() []string { return []string{"CCS=" + u.sim.Addr()} }

// begin starts a host, and waits for its plugin.
func (u *upgrade) begin(p programs) {
	u.t.Helper()
	host, err := startProgram(p.host, u.dir, "host.log", u.ccs(), "run")
	if err != nil {
		u.t.Fatal(err)
	}
	u.host = host
	u.t.Cleanup(host.kill)
	says, err := host.says(started)
	if err != nil {
		u.t.Fatal(err)
	}
	u.admin = says[1]
	u.until("the plugin runs", func(s admin.Status) bool { return s.Ready && running(s) != "" })
}

// running is the version of the keeper that runs, or "".
func running(s admin.Status) string {
	for _, p := range s.Plugins {
		if p.Name == "keeper" && p.State == "running" && p.Candidate == "" {
			return p.Version
		}
	}
	return ""
}

// until waits for something that the host says of itself.
func (u *upgrade) until(what string, ok func(admin.Status) bool) (last admin.Status) {
	u.t.Helper()
	var err error
	if !eventually(func() bool {
		last, err = adminOf(u.admin)
		return err == nil && ok(last)
	}) {
		text, _ := json.Marshal(last) // a status can be written
		u.t.Fatalf("after %s it is still not true that %s (%v): %s\n%s", patience, what, err, text, u.host.tail())
	}
	return last
}

// settled waits until nothing is on its way, and so much is left.
func (u *upgrade) settled(events, downstreams, timers, dead int) {
	u.t.Helper()
	u.until(fmt.Sprintf("events %d, downstreams %d, timers %d, dead letters %d are left", events, downstreams, timers, dead), func(s admin.Status) bool {
		r := u.sim.Report() // first the simulator: what it has seen acked, the host has
		l := s.Ledger
		return r.Waiting+r.InFlight == 0 && r.Acked == r.Created && l.Events == events && l.Downstreams == downstreams && l.Timers == timers && l.Dead == dead
	})
}

// balhost runs a command of one side against the host that runs.
func (u *upgrade) balhost(p programs, args ...string) string {
	u.t.Helper()
	cmd := exec.Command(p.host, append(args, "-c", filepath.Join(u.dir, "config.hcl"))...)
	cmd.Env = append(os.Environ(), append(u.ccs(), "BALHOST_ADMIN="+u.admin)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		u.t.Fatalf("balhost %q: %v\n%s\n%s", args, err, out, u.host.tail())
	}
	return string(out)
}

// ask has a device send something that the load does not.
func (u *upgrade) ask(device, category, n, do string) {
	u.sim.Upstream(device, category, map[string]string{"n": n, "do": do})
}

// sends has the devices send so many messages more, and waits until all are stored.
func (u *upgrade) sends(n int) {
	u.t.Helper()
	before := u.sim.Counts().Created
	u.load(0, n)
	if !eventually(func() bool {
		r := u.sim.Report()
		return r.Created >= before+uint64(n) && r.Waiting+r.InFlight == 0 && r.Acked == r.Created
	}) {
		u.t.Fatalf("the devices can't send\n%s", u.host.tail())
	}
	u.sim.StopDevices()
}

// fill leaves something of each kind pending in the older host.
func (u *upgrade) fill() {
	u.t.Helper()
	u.sends(200)
	u.settled(0, 0, 0, 0)
	u.ask("rejected", "com.example.echo", "1", "reject")   // a dead letter
	u.ask("later", "com.example.echo", "1", "later")       // waits for its second attempt
	u.ask("nobody", "com.example.new", "1", "")            // no plugin takes it
	u.ask("timed", "com.example.echo", "1", "far")         // a timer
	u.early = u.post(time.Now().Add(24 * time.Hour))       // a downstream that waits for its time
	u.settled(2, 1, 1, 1)                                  // later, nobody; early; far; rejected
	u.sim.Nack(ccssim.Nack{Count: -1, Token: "device-1"})  // its downstreams are not answered
	u.sim.Nack(ccssim.Nack{Count: -1, Token: "device-2*"}) // and those of 2 and 20
	u.sends(100)
	u.until("only those three devices' answers wait", func(s admin.Status) bool { return s.Ledger.Downstreams == 1+3*5 && s.Ledger.Events == 2 })
	u.ask("timed", "com.example.echo", "2", "soon") // a timer that is due while no host runs, or while the plugin is paused
	u.until("it is set", func(s admin.Status) bool { return s.Ledger.Timers == 2 || len(u.lines("timers")) == 1 })
	u.balhost(u.old, "pause", "keeper")
	u.sim.ClearNacks()
	u.sim.Nack(ccssim.Nack{Count: -1, Token: "device-1"})
	u.cut() // what was not answered goes again; 2 and 20 get answers, whose outcomes wait for the plugin
	u.sends(100)
	s := u.until("upstreams and outcomes wait", func(s admin.Status) bool { return s.Ledger.Downstreams == 1+5 && s.Ledger.Events >= 2+100+10 })
	u.backup, u.pending = filepath.Join(u.dir, "before.bak"), s.Ledger
	u.balhost(u.old, "backup", u.backup)
}

// post sends a downstream by the API, and gives its id.
func (u *upgrade) post(notBefore time.Time) string {
	u.t.Helper()
	body := fmt.Sprintf(`{"token":"tomorrow","data":{"k":"v"},"not_before":%q}`, notBefore.UTC().Format(time.RFC3339))
	r, err := http.Post("http://"+u.admin+"/v1/messages", "application/json", strings.NewReader(body))
	if err != nil {
		u.t.Fatal(err)
	}
	defer r.Body.Close()
	var answer struct {
		MessageID string `json:"message_id"`
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil || answer.MessageID == "" {
		u.t.Fatalf("%s: no message id (%v)", r.Status, err)
	}
	return answer.MessageID
}

// end stops the host, or kills it while messages flow.
func (u *upgrade) end(kill bool) {
	u.t.Helper()
	status, err := adminOf(u.admin)
	if err != nil {
		u.t.Fatal(err)
	}
	rest := leftoversOf(status)
	if kill {
		u.balhost(u.old, "resume", "keeper")
		u.load(0, 0)
		u.flows("")
		u.host.kill()
		u.sim.StopDevices()
		for _, pid := range rest.pids {
			u.vanishes(pid)
		}
		return
	}
	if err := errors.Join(u.host.stop(), rest.check()); err != nil {
		u.t.Fatal(err)
	}
}

// inherited looks at what this host has found.
func (u *upgrade) inherited() {
	u.t.Helper()
	s := u.until("it holds what no plugin takes", func(s admin.Status) bool { return len(s.Holding) == 1 && s.Holding[0].Pending == 1 })
	if upgraded := strings.Contains(u.host.output(), "ledger upgraded"); upgraded != (u.old.schema != u.this.schema) {
		u.t.Errorf("the ledger was upgraded: %v, from schema %d to %d", upgraded, u.old.schema, u.this.schema)
	}
	if s.Ledger.Dead != 1 {
		u.t.Errorf("dead letters: %d", s.Ledger.Dead)
	}
	if u.killed {
		return // how many wait, nobody can know; the books say whether all did
	}
	i := slices.IndexFunc(s.Plugins, func(p admin.Plugin) bool { return p.Name == "keeper" })
	if !s.Plugins[i].Paused {
		u.t.Error("the pause is lost")
	}
	was, is := u.pending, s.Ledger
	if is.Accepted != was.Accepted || is.Handled != was.Handled || is.Sent != was.Sent {
		u.t.Errorf("the totals were %+v, and are %+v", was.Counts, is.Counts)
	}
	if is.Events+is.Timers+is.Downstreams != was.Events+was.Timers+was.Downstreams { // what is due, or acked meanwhile, is an event now
		u.t.Errorf("pending were %+v, and are %+v", was.Counts, is.Counts)
	}
	u.balhost(u.this, "resume", "keeper")
}

// goOn is the older plugin under this host, with what was left and with more.
func (u *upgrade) goOn() {
	u.t.Helper()
	u.settled(2, 1, 1, 1)
	u.sends(60)
	u.settled(2, 1, 1, 1)
}

// deploy puts another plugin in place of the one that runs.
func (u *upgrade) deploy(p programs) {
	u.t.Helper()
	before := running(u.until("a plugin runs", func(s admin.Status) bool { return running(s) != "" }))
	u.put(p)
	u.until("the other plugin runs", func(s admin.Status) bool { return running(s) != "" && running(s) != before })
}

// finish has the new plugin end all that the older one could not, or did not yet.
func (u *upgrade) finish() {
	u.t.Helper()
	u.settled(1, 1, 1, 1) // it takes the category of nobody
	u.balhost(u.this, "retry", "now", "--plugin", "keeper")
	u.balhost(u.this, "dead", "replay", "--all", "--yes")
	u.balhost(u.this, "cancel", u.early)
	u.ask("timed", "com.example.echo", "3", "forget")
	u.settled(0, 0, 0, 0)
	u.sends(60)
	u.settled(0, 0, 0, 0)
}

// lines are those of one book.
func (u *upgrade) lines(book string) []handling {
	u.t.Helper()
	lines, err := readBook(filepath.Join(u.dir, book))
	if err != nil {
		u.t.Fatal(err)
	}
	return lines
}

// ran reports whether a plugin whose instance ends so was the last that handled something.
func (u *upgrade) ran(build string) bool {
	book := u.lines("book")
	return len(book) > 0 && strings.HasSuffix(book[len(book)-1].instance, build)
}

// judge compares the books. Nothing is on its way.
func (u *upgrade) judge() {
	u.t.Helper()
	sent := map[string]int{"rejected": 1, "later": 1, "nobody": 1, "timed": 3}
	answers := map[string]bool{} // the ids of all downstreams
	for i := range crashDevices {
		d, _ := u.sim.Device(fmt.Sprintf("device-%d", i+1))
		sent[d.Token] = int(d.Sent)
		if err := checkAnswers(d, true); err != nil {
			u.t.Error(err)
		}
	}
	for token, n := range sent {
		d, _ := u.sim.Device(token)
		got := map[string]bool{}
		for _, r := range d.Last {
			var data struct{ N, Count string }
			if err := json.Unmarshal(r.Data, &data); err != nil || data.N != data.Count {
				u.t.Errorf("%s got %s: its state counts another number of messages (P7)", token, r.Data)
			}
			got[r.MessageID], answers[r.MessageID] = true, true
		}
		if len(got) != n {
			u.t.Errorf("%s sent %d and has %d answers (P7, P8)", token, n, len(got))
		}
	}
	if err := checkBook(u.lines("book"), sent); err != nil {
		u.t.Error(err)
	}
	tries := 0
	for _, h := range u.lines("book") {
		if h.device == "later" && h.what == "begin" {
			tries++
		}
	}
	if tries != 2 { // one for the older host, which was told to wait a day, and one for "retry now"
		u.t.Errorf("what was to wait until tomorrow was tried %d times", tries)
	}
	outcomes := map[string]string{} // the event of each downstream's outcome
	for _, o := range u.lines("outcomes") {
		if was := outcomes[o.device]; was != "" && was != o.event || o.what != "acked" || !answers[o.device] {
			u.t.Errorf("the outcome of %s is %s, event %s; it was %q before (P4)", o.device, o.what, o.event, was)
		}
		outcomes[o.device] = o.event
	}
	if len(outcomes) != len(answers) {
		u.t.Errorf("%d downstreams have %d outcomes (P4)", len(answers), len(outcomes))
	}
	rings := map[string]bool{}
	for _, r := range u.lines("timers") {
		if r.what != "soon" || r.n != 2 || r.device == "" {
			u.t.Errorf("a timer rang that was not set so: %+v", r)
		}
		rings[r.event] = true
	}
	if len(rings) != 1 {
		u.t.Errorf("the timer rang %d times", len(rings))
	}
}

// verify has a host's program read the whole ledger, which is stopped.
func (u *upgrade) verify(p programs) {
	u.t.Helper()
	u.balhost(p, "verify")
}

// back is the way to the older host: on the same ledger if it has that schema; else that
// host refuses the ledger, which stays as it is, and the backup leads back.
func (u *upgrade) back() {
	u.t.Helper()
	if u.old.schema != u.this.schema {
		u.refuses()
		u.restores()
		return
	}
	u.begin(u.old) // and the plugin of this SDK
	u.sends(60)
	u.settled(0, 0, 0, 0)
	if u.ran("-older") {
		u.t.Error("the plugin of this SDK did not run under the older host")
	}
	u.deploy(u.old)
	u.sends(60)
	u.settled(0, 0, 0, 0)
	u.judge()
	u.end(false)
	u.verify(u.this)
}

// refuses: the older host does not open the ledger of this one, and says why.
func (u *upgrade) refuses() {
	u.t.Helper()
	host, err := startProgram(u.old.host, u.dir, "host.log", u.ccs(), "run")
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(host.kill)
	code, err := host.ends()
	want := fmt.Sprintf("it was written by a newer balhost (schema %d, this one knows %d): run that one", u.this.schema, u.old.schema)
	if err != nil || code == 0 || !strings.Contains(host.output(), want) {
		u.t.Errorf("the older host ended with %d (%v) and does not say %q, but\n%s", code, err, want, host.tail())
	}
	u.verify(u.this)
	u.begin(u.this)
	u.sends(60)
	u.settled(0, 0, 0, 0)
	u.judge()
	u.end(false)
}

// restores: the older host goes on from the backup that it took, with the plugin of this
// SDK.
func (u *upgrade) restores() {
	u.t.Helper()
	ledger := filepath.Join(u.dir, "data", "ledger")
	if err := os.Rename(ledger, ledger+".newer"); err != nil {
		u.t.Fatal(err)
	}
	u.balhost(u.old, "restore", u.backup)
	u.begin(u.old)
	s := u.until("what waited at the backup waits", func(s admin.Status) bool { return s.Ledger.Dead == 1 })
	if was, is := u.pending, s.Ledger; is.Handled != was.Handled || is.Accepted != was.Accepted {
		u.t.Errorf("the backup had %+v, and what was restored has %+v", was.Counts, is.Counts)
	}
	u.balhost(u.old, "resume", "keeper")
	u.until("it is handled", func(s admin.Status) bool { return s.Ledger.Events == 1 && s.Ledger.Downstreams == 1 }) // later and early wait until tomorrow
	if u.ran("-older") {
		u.t.Error("the plugin of this SDK did not run under the older host")
	}
	u.end(false)
}
