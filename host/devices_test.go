package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// tool is the path of a program that a test needs. Without it the test is skipped, or fails
// if BALHOST_WEB=required, which .ci/run sets.
func tool(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("BALHOST_WEB") == "required" {
		t.Fatalf("%s is not installed, and BALHOST_WEB asks for it: apt-get install %s", names[0], names[0])
	}
	t.Skipf("%s is not installed", names[0])
	return ""
}

// The web example's library in Node, against a gateway that does what each test says.
func TestWebDeviceInNode(t *testing.T) {
	node := tool(t, "node", "nodejs")
	const file = "../examples/devices/web/balhost.test.js"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(node, "--test", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if all := fmt.Sprintf(" pass %d\n", strings.Count(string(text), "\ntest(")); !strings.Contains(string(out), all) {
		t.Fatalf("not all tests ran, want %q:\n%s", all, out)
	}
}

// balhost.js, which is in git and in balhost dev, is what the compiler makes of balhost.ts.
func TestWebDeviceIsBuilt(t *testing.T) {
	const folder = "../examples/devices/web/"
	tsc, err := filepath.Abs(folder + "node_modules/.bin/tsc")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tsc); err != nil {
		if os.Getenv("BALHOST_WEB") == "required" {
			t.Fatal("the compiler is not installed, and BALHOST_WEB asks for it: run npm ci in examples/devices/web")
		}
		t.Skip("the compiler is not installed: make web does it")
	}
	made := t.TempDir()
	if out, err := exec.Command(tsc, "-p", folder, "--outDir", made).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"balhost.js", "balhost.d.ts"} {
		is, err := os.ReadFile(folder + name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(made, name))
		if err != nil {
			t.Fatal(err)
		}
		if string(is) != string(want) {
			t.Errorf("%s is not what balhost.ts makes: run make web, and commit it", name)
		}
	}
}

// The web example in Chromium chats with a CCS device, through balhost dev: what the page
// says is stored and reaches the device, and what the device says reaches the page, once.
// After a reload the page is the same device.
func TestWebDeviceInChromium(t *testing.T) {
	plugins := builtPlugins(t)
	chromium := tool(t, "chromium", "chromium-browser", "google-chrome")
	s := &stage{dir: t.TempDir(), plugins: plugins, running: map[string]*process{}}
	t.Cleanup(s.clear)
	if err := s.furnish(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.dropCmd([]string{"chatroom"}); err != nil {
		t.Fatal(err)
	}
	if err := s.startDev([]string{"--devices", "0"}); err != nil {
		t.Fatal(err)
	}
	said, err := s.running["dev"].says(`control at (http://[^,]+), .*`)
	if err != nil {
		t.Fatal(err)
	}
	s.sim = strings.TrimPrefix(said[1], "http://")
	page, err := s.running["dev"].says(`chat in your browser: (\S+)`)
	if err != nil {
		t.Fatal(err)
	}
	ccs := func(text string) {
		t.Helper()
		if _, err := s.askCmd([]string{"sim", "/upstream", text}); err != nil {
			t.Fatal(err)
		}
	}
	tab := openTab(t, chromium)
	tab.goTo(page[1])
	tab.until(`document.documentElement.dataset.ready`, "yes")
	tab.run(`document.querySelector("#join [name=name]").value = "Browser"; document.querySelector("#join button").click()`)
	tab.until(`document.getElementById("state").textContent`, "connected")
	ccs(`{"from":"guest","category":"com.example.chatroom","data":{"do":"join","room":"kitchen","name":"Guest"}}`)
	tab.until(`[...document.querySelectorAll("li")].map(l => l.textContent).join("|")`, "Guest joined")
	tab.run(`document.querySelector("#say input").value = "hello from the page"; document.querySelector("#say button").click()`)
	tab.until(`document.querySelector("li.mine.stored")?.textContent`, "hello from the page")
	if !eventually(func() bool {
		return strings.Contains(s.try([]string{"ask", "sim", "/devices/guest"}), "hello from the page")
	}) {
		t.Fatalf("the CCS device did not get it:\n%s", s.running["dev"].tail())
	}
	ccs(`{"from":"guest","category":"com.example.chatroom","data":{"do":"say","room":"kitchen","text":"hello from CCS"}}`)
	tab.until(`[...document.querySelectorAll("li")].map(l => l.textContent).join("|")`, "Guesthello from CCS")
	tab.shot("chat")
	who := tab.value(`localStorage.from`)
	tab.goTo(page[1])
	tab.until(`document.documentElement.dataset.ready`, "yes")
	tab.run(`document.querySelector("#join [name=name]").value = "Browser"; document.querySelector("#join button").click()`)
	tab.until(`document.getElementById("state").textContent`, "connected")
	ccs(`{"from":"guest","category":"com.example.chatroom","data":{"do":"say","room":"kitchen","text":"and again"}}`)
	tab.until(`[...document.querySelectorAll("li")].map(l => l.textContent).join("|")`, "Guestand again")
	if again := tab.value(`localStorage.from`); again != who {
		t.Errorf("after a reload the page is %s, and was %s", again, who)
	}
	if lines := tab.value(`[...document.querySelectorAll("li")].map(l => l.textContent).join("|")`); strings.Contains(lines, "hello from CCS") {
		t.Errorf("what the page had got came again: %s", lines)
	}
	if err := s.running["dev"].stop(); err != nil {
		t.Error(err)
	}
}

// tab is a page of a Chromium, driven by its DevTools protocol.
type tab struct {
	t  *testing.T
	c  *websocket.Conn
	id int
}

// openTab starts a Chromium without a window.
func openTab(t *testing.T, program string) *tab {
	t.Helper()
	dir := t.TempDir()
	p, err := startProgram(program, dir, "chromium.log", nil, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--remote-debugging-port=0", "--user-data-dir="+dir, "--no-first-run", "--window-size=700,800", "about:blank")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.kill(); <-p.exited })
	at, err := p.says(`DevTools listening on ws://([^/]+)/`)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{sim: at[1]}
	var pages []struct {
		Type string
		URL  string `json:"webSocketDebuggerUrl"`
	}
	if !eventually(func() bool {
		text, err := s.askCmd([]string{"sim", "/json/list"})
		return err == nil && json.Unmarshal([]byte(text), &pages) == nil && len(pages) > 0 && pages[0].Type == "page"
	}) {
		t.Fatalf("no page: %v\n%s", pages, p.tail())
	}
	c, _, err := websocket.Dial(t.Context(), pages[0].URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(16 << 20)
	t.Cleanup(func() { c.CloseNow() })
	return &tab{t: t, c: c}
}

// do calls a method and returns its result.
func (p *tab) do(method string, params any) json.RawMessage {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	p.id++
	text, err := json.Marshal(map[string]any{"id": p.id, "method": method, "params": params})
	if err == nil {
		err = p.c.Write(ctx, websocket.MessageText, text)
	}
	for err == nil {
		var answer struct {
			ID     int
			Result json.RawMessage
			Error  json.RawMessage
		}
		_, text, err = p.c.Read(ctx)
		if err == nil && json.Unmarshal(text, &answer) == nil && answer.ID == p.id {
			if answer.Error != nil {
				p.t.Fatalf("%s: %s", method, answer.Error)
			}
			return answer.Result
		}
	}
	p.t.Fatalf("%s: %v", method, err)
	return nil
}

func (p *tab) goTo(url string) { p.t.Helper(); p.do("Page.navigate", map[string]string{"url": url}) }

func (p *tab) run(script string) { p.t.Helper(); p.value(script) }

// value is what an expression is on the page, as text.
func (p *tab) value(expression string) string {
	p.t.Helper()
	var r struct {
		Result struct{ Value any }
	}
	if err := json.Unmarshal(p.do("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}), &r); err != nil {
		p.t.Fatal(err)
	}
	return fmt.Sprint(r.Result.Value)
}

// until waits until an expression has a text in it.
func (p *tab) until(expression, want string) {
	p.t.Helper()
	got := ""
	for deadline := time.Now().Add(patience); !strings.Contains(got, want); time.Sleep(20 * time.Millisecond) {
		if got = p.value(expression); time.Now().After(deadline) {
			p.shot("failed")
			p.t.Fatalf("%s is %q, want %q", expression, got, want)
		}
	}
}

// shot keeps a picture of the page in BALHOST_SHOTS, if that is a folder.
func (p *tab) shot(name string) {
	p.t.Helper()
	dir := os.Getenv("BALHOST_SHOTS")
	if dir == "" {
		return
	}
	var r struct{ Data []byte }
	if err := json.Unmarshal(p.do("Page.captureScreenshot", map[string]string{"format": "png"}), &r); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), r.Data, 0o600); err != nil {
		p.t.Fatal(err)
	}
}
