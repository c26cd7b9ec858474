package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// axe is the checker of accessibility that testdata/web names. Without it the test is
// skipped, or fails if BALHOST_WEB=required.
func axe(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/web/node_modules/axe-core/axe.min.js")
	if err != nil {
		if os.Getenv("BALHOST_WEB") == "required" {
			t.Fatal("axe-core is not installed, and BALHOST_WEB asks for it: run npm ci in host/testdata/web")
		}
		t.Skip("axe-core is not installed: make web does it")
	}
	return string(text)
}

// The page in Chromium, through balhost dev: parts follow what happens while the focus stays
// where it is, the tail moves, a dead letter is found and replayed by clicks, and axe finds
// nothing on any page, light and dark, on a phone and on a screen. No page scrolls sideways.
func TestWebPageInChromium(t *testing.T) {
	plugins := builtPlugins(t)
	chromium := tool(t, "chromium", "chromium-browser", "google-chrome")
	checker := axe(t)
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
	page := "http://" + s.admin
	send := func(data string) {
		t.Helper()
		if _, err := s.askCmd([]string{"sim", "/upstream", `{"from":"guest","category":"com.example.chatroom","data":` + data + `}`}); err != nil {
			t.Fatal(err)
		}
	}
	tab := openTab(t, chromium)
	tab.goTo(page + "/")
	tab.until(`document.documentElement.className`, "live")
	tab.until(`document.querySelector("#plugin-chatroom")?.textContent`, "running")

	// A part follows, and the focus stays.
	tab.run(`document.querySelector("#plugin-chatroom a").focus()`)
	send(`{"do":1}`)
	tab.until(`document.querySelector("#troubles")?.textContent`, "1 dead letter")
	tab.until(`document.activeElement.textContent`, "chatroom")
	tab.until(`document.querySelector("#frame nav [href='/dead']")?.textContent`, "1")

	// The tail moves, with the filter of the form.
	tab.goTo(page + "/tail?plugin=chatroom")
	tab.until(`document.querySelector("#steps")?.textContent`, "from here on")
	send(`{"do":"join","room":"kitchen","name":"<b>Guest</b>"}`)
	tab.until(`document.querySelector("#steps")?.textContent`, "handled")

	// A dead letter is found and replayed by clicks; it dies again.
	tab.goTo(page + "/dead")
	tab.until(`document.querySelectorAll("#letters tbody tr").length`, "1")
	tab.run(`document.querySelector("[name=reason]").value = "nothing like that"; document.querySelector(".filter button").click()`)
	tab.until(`document.querySelector(".empty")?.textContent`, "No dead letter is like that")
	tab.goTo(page + "/dead?reason=DATA+OF")
	tab.until(`document.querySelectorAll("#letters tbody tr").length`, "1")
	tab.run(`document.querySelector("#letters td [type=checkbox]").click(); document.querySelector("#letters button.main").click()`)
	tab.until(`document.querySelector("#told")?.textContent`, "1 dead letter replayed")
	tab.until(`document.querySelector("#frame nav [href='/dead']")?.textContent`, "1")

	// A person types to a virtual device, and pauses a plugin.
	tab.goTo(page + "/device")
	tab.until(`document.querySelector("[name=category]")?.value`, "com.example.chatroom")
	tab.run(`document.querySelector("[name=from]").value = "typist"; document.querySelector("[name=data]").value = '{"do":"join","room":"garden","name":"Typist"}'; document.querySelector(".form button").click()`)
	tab.until(`document.querySelector("#got")?.textContent`, `"acked": 1`)
	tab.goTo(page + "/plugins/chatroom")
	tab.until(`document.querySelector("#pause")?.textContent`, "Pause")
	tab.run(`document.querySelector("#pause").click()`)
	tab.until(`document.querySelector("#told")?.textContent`, "chatroom is paused")

	// A person searches, and follows a message to its life.
	tab.goTo(page + "/messages")
	tab.until(`document.querySelectorAll("tbody tr").length > 1`, "true")
	tab.run(`document.querySelector("[name=state]").value = "dead"; document.querySelector("[name=text]").value = "cannot unmarshal"; document.querySelector(".filter button").click()`)
	tab.until(`document.querySelectorAll("tbody tr").length + location.search`, "1?")
	tab.run(`document.querySelector("tbody a").click()`)
	tab.until(`document.querySelector(".timeline")?.textContent`, "cannot unmarshal")

	// On a phone the places are in a menu, which needs no script. On a screen they are there.
	shown := `document.querySelector("#menu").checkVisibility()`
	tab.looks(page+"/", 390, "light")
	tab.until(shown, "false")
	tab.run(`document.querySelector(".menu").click()`)
	tab.until(shown, "true")
	tab.accessible("/ with its menu", checker, 390, "light")
	tab.looks(page+"/", 1280, "light")
	tab.until(shown, "true")

	letter := tab.letter(page)
	for _, path := range append(pagePaths, "/dead/"+letter, "/messages/"+letter) {
		for _, width := range []int{390, 1280, 1920} {
			for _, scheme := range []string{"light", "dark"} {
				tab.looks(page+path, width, scheme)
				tab.accessible(path, checker, width, scheme)
				tab.shot(fmt.Sprintf("page%s-%d-%s", strings.ReplaceAll(strings.ReplaceAll(path, letter, "letter"), "/", "-"), width, scheme))
			}
		}
	}
	if err := s.running["dev"].stop(); err != nil {
		t.Error(err)
	}
}

// pagePaths are the pages that everybody has.
var pagePaths = []string{"/", "/plugins", "/plugins/chatroom", "/sessions", "/tail", "/dead", "/retries", "/send", "/device", "/state", "/state/chatroom", "/bindings", "/audit", "/erase", "/pauses", "/messages", "/backup"}

// letter is the id of a dead letter.
func (p *tab) letter(page string) string {
	p.t.Helper()
	p.goTo(page + "/dead")
	p.until(`document.querySelector("#letters tbody a")?.pathname`, "/dead/")
	return filepath.Base(p.value(`document.querySelector("#letters tbody a").pathname`))
}

// looks shows a page on a screen of some width, light or dark.
func (p *tab) looks(url string, width int, scheme string) {
	p.t.Helper()
	p.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500})
	p.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}})
	p.goTo(url)
	p.until(`location.href + document.readyState`, url+"complete")
	if wide := p.value(`document.documentElement.scrollWidth > innerWidth`); wide != "false" {
		p.t.Errorf("%s scrolls sideways at %d", url, width)
	}
}

// accessible lets axe look at the page.
func (p *tab) accessible(path, checker string, width int, scheme string) {
	p.t.Helper()
	p.run(checker)
	var r struct {
		Result struct{ Value string }
	}
	const ask = `axe.run(document).then(r => JSON.stringify(r.violations.map(v => v.id + ": " + v.nodes.map(n => n.html + " " + n.failureSummary).slice(0, 3).join("; "))))`
	err := json.Unmarshal(p.do("Runtime.evaluate", map[string]any{"expression": ask, "returnByValue": true, "awaitPromise": true}), &r)
	if err != nil || r.Result.Value != "[]" {
		p.t.Errorf("%s at %d, %s: %v %s", path, width, scheme, err, r.Result.Value)
	}
}
