package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"balhost/host/internal/ccssim"
)

// TestScript runs testdata/script: what an operator sees of hosts, simulators
// and plugins that are real processes. Beside testscript's own commands, which
// come first where names are equal, there are
//
//	start sim|fcm|host|dev [FLAGS] in the background; returns when it is ready. fcm is sim --fcm
//	finish sim|fcm|host|dev    by SIGTERM; it must exit with 0 and leave no plugin and no socket
//	crash sim|fcm|host         by SIGKILL
//	hangup host                SIGHUP
//	dies host CODE             wait for an end that nobody asked for
//	ask sim|fcm|host PATH [BODY]  HTTP; with a body it is a POST. The answer is stdout
//	ask gateway|moved|stranger PATH [BODY]  the same as a device with the token "devtoken" at $GATEWAY or $MOVED, or
//	                           with another token at $GATEWAY. The answer begins with its status
//	connect NAME               a device NAME connects to $GATEWAY by WebSocket, and again when it is closed. It sends
//	                           {"hello":NAME} to com.example.echo
//	ask device NAME            what it has got, a message a line, and how often it was connected
//	[!] until PATTERN COMMAND  repeat ask or a program until its output matches, for a minute
//	answered                   wait until the simulator's devices have one answer for each message (checkAnswers)
//	exits CODE COMMAND         a program's exit code
//	drop PROGRAM [NAME]        copy a program into the plugins folder: echo, scribe, or a script's own file
//
// $CCS, $FCM and $BALHOST_ADMIN are their addresses, $GATEWAY and $MOVED are free ones,
// $SHIPPED is config.hcl as shipped, in $CLONE. A script's file "typed" is the stdin of what it
// starts. A script without a config.hcl of its own has usualConfig with its more.hcl
// behind.
func TestScript(t *testing.T) {
	plugins := builtPlugins(t)
	shipped, err := filepath.Abs("../config.hcl")
	if err != nil {
		t.Fatal(err)
	}
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			s := &stage{dir: e.WorkDir, env: []string{"WORK=" + e.WorkDir}, plugins: plugins, running: map[string]*process{}, devices: map[string]*phone{}}
			e.Values[stageKey] = s
			e.Defer(s.clear)
			e.Setenv("SHIPPED", shipped)
			e.Setenv("CLONE", filepath.Dir(shipped))
			for i, name := range []string{"GATEWAY", "MOVED"} {
				if s.gateway[i], err = freeAddress(); err != nil {
					return err
				}
				e.Setenv(name, s.gateway[i])
				s.env = append(s.env, name+"="+s.gateway[i])
			}
			return s.furnish()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start":    onStage((*stage).startCmd),
			"finish":   onStage((*stage).finishCmd),
			"crash":    onStage((*stage).crashCmd),
			"hangup":   onStage((*stage).hangupCmd),
			"dies":     onStage((*stage).diesCmd),
			"ask":      onStage((*stage).askCmd),
			"drop":     onStage((*stage).dropCmd),
			"connect":  onStage((*stage).connectCmd),
			"answered": onStage((*stage).answeredCmd),
			"until":    untilCmd,
			"exits":    exitsCmd,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// usualConfig is for one simulator and any disk, and comes back soon.
const usualConfig = `
data_dir = "data"
session "main" {
  sender_id = "482915730064"
  ccs {
    address    = env("CCS")
    server_key = "simulator"
    max_stanza = "128KiB"
    connect_backoff {
      min = "10ms"
      max = "200ms"
    }
    tls {
      ca_file     = "data/sim-ca.pem"
      server_name = "localhost"
    }
  }
}
ledger {
  disk_soft = "64MiB"
  disk_hard = "16MiB"
  ballast   = "0B"
  inodes    = 100
}
admin {
  listen = "127.0.0.1:0"
}
`

// stageKey finds a script's stage.
const stageKey = "stage"

// stage is where one script plays.
type stage struct {
	dir     string
	env     []string            // of its processes, beside the test's
	plugins string              // a folder of them
	program map[string]string   // what runs as sim and as host; balhost when it is not there
	running map[string]*process // sim, fcm, host
	sim     string              // the CCS simulator's HTTP control
	ccs     string              // its address, kept over restarts
	control string              // the FCM simulator's HTTP control
	fcm     string              // its URL, kept over restarts
	admin   string              // the host's HTTP API
	gateway [2]string           // $GATEWAY and $MOVED
	devices map[string]*phone   // of the gateway
}

func onStage(f func(s *stage, args []string) (out string, err error)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("! is not for this command")
		}
		s := ts.Value(stageKey).(*stage)
		out, err := f(s, args)
		ts.Check(err)
		ts.Setenv("CCS", s.ccs)
		ts.Setenv("FCM", s.fcm)
		ts.Setenv("BALHOST_ADMIN", s.admin)
		io.WriteString(ts.Stdout(), out)
	}
}

// furnish makes the folders and the config.
func (s *stage) furnish() error {
	for _, dir := range []string{"data", "plugins"} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o700); err != nil {
			return err
		}
	}
	own := filepath.Join(s.dir, "config.hcl")
	if _, err := os.Stat(own); err == nil {
		return nil
	}
	more, err := os.ReadFile(filepath.Join(s.dir, "more.hcl"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(own, append([]byte(usualConfig), more...), 0o600)
}

// clear ends what a script has left running.
func (s *stage) clear() {
	for _, p := range s.devices {
		p.close()
	}
	for _, p := range s.running {
		p.kill()
	}
}

// a finds the process that a script means.
func (s *stage) a(args []string) (*process, error) {
	if len(args) == 0 || s.running[args[0]] == nil {
		return nil, fmt.Errorf("%v: that is not running", args)
	}
	return s.running[args[0]], nil
}

func (s *stage) startCmd(args []string) (string, error) {
	switch {
	case len(args) == 0 || s.running[args[0]] != nil && !s.running[args[0]].over():
		return "", fmt.Errorf("start %v: want sim, fcm, host or dev, and not twice", args)
	case args[0] == "sim":
		return "", s.startSim(args[1:])
	case args[0] == "fcm":
		return "", s.startFCM(args[1:])
	case args[0] == "dev":
		return "", s.startDev(args[1:])
	}
	return "", s.startHost(args[1:])
}

func (s *stage) startSim(flags []string) error {
	args := append([]string{"sim", "--json", "--listen", cmp.Or(s.ccs, "127.0.0.1:0"), "--http", "127.0.0.1:0", "--ca-file", "data/sim-ca.pem"}, flags...)
	p, err := startProgram(cmp.Or(s.program["sim"], "balhost"), s.dir, "sim.log", s.env, args...)
	if err != nil {
		return err
	}
	s.running["sim"] = p
	ready, err := p.says(`"ccs":"([^"]+)".*"http":"http://([^"]+)"`)
	if err != nil {
		return err
	}
	s.ccs, s.sim = ready[1], ready[2]
	s.env = append(s.env, "CCS="+s.ccs)
	return nil
}

func (s *stage) startFCM(flags []string) error {
	listen := cmp.Or(strings.TrimPrefix(s.fcm, "https://"), "127.0.0.1:0")
	args := append([]string{"sim", "--fcm", "--json", "--listen", listen, "--http", "127.0.0.1:0", "--ca-file", "data/sim-ca.pem", "--key-file", "data/fcm-key.json"}, flags...)
	p, err := startProgram("balhost", s.dir, "fcm.log", s.env, args...)
	if err != nil {
		return err
	}
	s.running["fcm"] = p
	ready, err := p.says(`"fcm":"([^"]+)".*"http":"http://([^"]+)"`)
	if err != nil {
		return err
	}
	s.fcm, s.control = ready[1], ready[2]
	s.env = append(s.env, "FCM="+s.fcm)
	return nil
}

// startDev starts both in one process, its simulator where nobody else is.
func (s *stage) startDev(flags []string) error {
	free, err := freeAddress()
	if err != nil {
		return err
	}
	s.ccs = free
	s.env = append(s.env, "CCS="+s.ccs)
	return s.runHost("dev", append([]string{"dev", "--plain", "--http", "127.0.0.1:0", "--gateway", "127.0.0.1:0"}, flags...))
}

// freeAddress is one where nobody listened a moment ago.
func freeAddress() (string, error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return free.Addr().String(), free.Close()
}

func (s *stage) startHost(flags []string) error {
	return s.runHost("host", append([]string{"run"}, flags...))
}

func (s *stage) runHost(name string, args []string) error {
	p, err := startProgram(cmp.Or(s.program[name], "balhost"), s.dir, name+".log", s.env, args...)
	if err != nil {
		return err
	}
	s.running[name] = p
	ready, err := p.says(started)
	if err != nil {
		return err
	}
	s.admin = ready[1]
	s.env = append(s.env, "BALHOST_ADMIN="+s.admin)
	return nil
}

func (s *stage) finishCmd(args []string) (string, error) {
	p, err := s.a(args)
	if err != nil {
		return "", err
	}
	var r leftovers
	if args[0] != "sim" && args[0] != "fcm" {
		status, err := adminOf(s.admin)
		if err != nil {
			return "", err
		}
		r = leftoversOf(status)
	}
	if err := p.stop(); err != nil {
		return "", err
	}
	return p.output(), r.check()
}

func (s *stage) crashCmd(args []string) (string, error) {
	p, err := s.a(args)
	if err != nil {
		return "", err
	}
	p.kill()
	return "", nil
}

func (s *stage) hangupCmd(args []string) (string, error) {
	p, err := s.a(args)
	if err != nil {
		return "", err
	}
	return "", p.cmd.Process.Signal(syscall.SIGHUP)
}

func (s *stage) diesCmd(args []string) (string, error) {
	p, err := s.a(args)
	if err != nil {
		return "", err
	}
	code, err := p.ends()
	if want := strings.Join(args[1:], ""); err == nil && strconv.Itoa(code) != want {
		err = fmt.Errorf("%s ended with %d instead of %s\n%s", args[0], code, want, p.tail())
	}
	return p.output(), err
}

func (s *stage) askCmd(args []string) (string, error) {
	if len(args) < 2 {
		return "", errors.New("usage: ask sim|fcm|host|gateway|moved|stranger PATH [BODY], or ask device NAME")
	}
	if args[0] == "device" {
		return s.devices[args[1]].told()
	}
	url := "http://" + map[string]string{"sim": s.sim, "fcm": s.control, "host": s.admin, "gateway": s.gateway[0], "stranger": s.gateway[0], "moved": s.gateway[1]}[args[0]] + args[1]
	method, body := http.MethodGet, strings.Join(args[2:], " ")
	if body != "" {
		method = http.MethodPost
	}
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	token, device := map[string]string{"gateway": "devtoken", "moved": "devtoken", "stranger": "guessed"}[args[0]]
	if device {
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if device {
		return fmt.Sprintf("%d %s", response.StatusCode, answer), err
	}
	if err == nil && response.StatusCode == http.StatusBadRequest {
		err = fmt.Errorf("ask %v: %s", args, answer)
	}
	return string(answer), err
}

func (s *stage) dropCmd(args []string) (string, error) {
	if len(args) == 0 || len(args) > 2 {
		return "", errors.New("usage: drop PROGRAM [NAME]")
	}
	program, err := os.ReadFile(filepath.Join(s.dir, args[0]))
	if errors.Is(err, os.ErrNotExist) {
		program, err = os.ReadFile(filepath.Join(s.plugins, args[0]))
	}
	if err != nil {
		return "", err
	}
	name := filepath.Join(s.dir, "plugins", args[len(args)-1])
	return "", errors.Join(os.WriteFile(name, program, 0o700), os.Chmod(name, 0o700))
}

func (s *stage) answeredCmd([]string) (string, error) {
	var err error
	if !eventually(func() bool { err = s.answered(); return err == nil }) {
		return "", fmt.Errorf("%w\nthe host's log:\n%s", err, s.running["host"].tail())
	}
	return "", nil
}

func (s *stage) answered() error {
	var report ccssim.Report
	if err := s.simulator("/report", &report); err != nil {
		return err
	}
	for _, d := range report.Devices {
		if err := s.simulator("/devices/"+d.Token, &d); err != nil {
			return err
		}
		if d.Sent == 0 {
			continue // what it sent is the script's own
		}
		if err := checkAnswers(d, false); err != nil {
			return err
		}
	}
	return nil
}

// simulator asks it for JSON.
func (s *stage) simulator(path string, v any) error {
	text, err := s.askCmd([]string{"sim", path})
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), v)
}

// try runs ask or a program, and gives all that it says.
func (s *stage) try(args []string) string {
	if args[0] == "ask" {
		out, err := s.askCmd(args[1:])
		if err != nil {
			return err.Error()
		}
		return out
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), s.env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s%v\n", out, err)
	}
	return string(out)
}

func untilCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: until PATTERN COMMAND...")
	}
	s := ts.Value(stageKey).(*stage)
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		out := s.try(args[1:])
		if want.MatchString(out) != neg {
			io.WriteString(ts.Stdout(), out)
			return
		}
		if time.Now().After(deadline) {
			host := ""
			if p := s.running["host"]; p != nil {
				host = p.tail()
			}
			ts.Fatalf("%q is not what comes (or goes, if not wanted) within %s:\n%s\nthe host's log:\n%s", args[0], patience, out, host)
		}
	}
}

func exitsCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	code, err := 0, ts.Exec(args[1], args[2:]...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d instead of %s", code, args[0])
	}
}
