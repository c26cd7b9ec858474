package main

import (
	"strings"
	"testing"
	"time"

	"balhost/sdk"
	"balhost/sdk/plugintest"
)

// often is a config with short times, for quick tests.
func often(more map[string]any) plugintest.Options {
	c := map[string]any{"every": "1ms", "topic": ""}
	for k, v := range more {
		c[k] = v
	}
	return plugintest.Options{Config: c}
}

func TestAlerts(t *testing.T) {
	h := plugintest.New(t, alerts(), often(map[string]any{"topic": "news", "tokens": []string{"tok"}, "text": "fire"}))
	sent := h.AwaitSent(4)
	for i, d := range sent[:4] {
		var data map[string]string
		plugintest.Decode(d.Data, &data)
		number := []string{"1", "1", "2", "2"}[i]
		to := []sdk.Target{sdk.Topic("news"), sdk.Token("tok")}[i%2]
		if data["alert"] != number || data["text"] != "fire" || d.To != to || string(d.Context) != number || *d.Options.TTL <= 0 {
			t.Errorf("alert %d: %+v with %v", i, d, data)
		}
	}
}

// Each session has devices of its own, and its transport makes no difference here.
func TestAlertsBySession(t *testing.T) {
	two := often(map[string]any{"topic": "news"})
	two.Sessions = []string{"main", "phones"}
	h := plugintest.New(t, alerts(), two)
	for i, d := range h.AwaitSent(4)[:4] {
		if want := two.Sessions[i%2]; d.Session != want {
			t.Errorf("alert %d by session %q, want %q", i, d.Session, want)
		}
	}
	two.Config = map[string]any{"tokens": []string{"tok"}}
	if err := plugintest.Refusal(t, alerts(), two); err == nil || !strings.Contains(err.Error(), "set session") {
		t.Errorf("tokens of no session: got %v", err)
	}
}

func TestDeadTokensAreLeftOut(t *testing.T) {
	h := plugintest.New(t, alerts(), often(map[string]any{"tokens": []string{"dead", "live"}}))
	h.AwaitSent(1)
	if r := h.Outcome(sdk.Outcome{To: sdk.Token("dead"), Status: sdk.Failed, Code: "DEVICE_UNREGISTERED", Gone: true}); r.Err() != nil {
		t.Fatal(r.Err())
	}
	if r := h.Outcome(sdk.Outcome{To: sdk.Token("live"), Status: sdk.Failed, Code: "INTERNAL_SERVER_ERROR"}); r.Err() != nil {
		t.Fatal(r.Err())
	}
	known := len(h.Sent()) + 2 // the alert that is being sent just now may still go to both
	for _, d := range h.AwaitSent(known + 4)[known:] {
		if d.To != sdk.Token("live") {
			t.Errorf("alert to %+v", d.To)
		}
	}
}

// A new version of the plugin continues with the number after the old one's last.
func TestCountsOnAfterReload(t *testing.T) {
	h := plugintest.New(t, alerts(), often(map[string]any{"tokens": []string{"tok"}}))
	h.AwaitSent(2)
	h.Reload(alerts())
	h.AwaitSent(len(h.Sent()) + 2)
	h.Stop()
	seen := map[string]bool{}
	for _, d := range h.Sent() {
		if number := string(d.Context); seen[number] {
			t.Errorf("alert %s twice", number)
		} else {
			seen[number] = true
		}
	}
}

// When the host can't store for a while, alerts are lost, but the plugin goes on.
func TestGoesOnAfterARefusal(t *testing.T) {
	h := plugintest.New(t, alerts(), often(map[string]any{"tokens": []string{"tok"}}))
	h.AwaitSent(1)
	h.Refuse("disk at its soft limit")
	for sent := len(h.Sent()); last(h) < sent+5; { // it counts, but sends nothing
		time.Sleep(time.Millisecond)
	}
	h.Refuse("")
	if sent := h.AwaitSent(len(h.Sent()) + 3); len(sent) >= last(h) {
		t.Errorf("%d alerts sent of %d: none was refused", len(sent), last(h))
	}
}

// last is the number of the last alert.
func last(h *plugintest.Host) (number int) {
	h.State("last", &number)
	return number
}

func TestBadConfig(t *testing.T) {
	for want, c := range map[string]map[string]any{
		"set topic or tokens":       {"every": "1s", "topic": ""},
		"every must be":             {"every": "0s"},
		"ttl must be whole seconds": {"ttl": "1500ms"},
		`no key "intervall"`:        {"intervall": "1s"},
	} {
		if err := plugintest.Refusal(t, alerts(), plugintest.Options{Config: c}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want …%s…", c, err, want)
		}
	}
}
