package main

import (
	"testing"
	"time"

	"balhost/sdk"
	"balhost/sdk/plugintest"
)

func tell(t *testing.T, h *plugintest.Host, order, do string) {
	t.Helper()
	if r := h.Upstream(sdk.Upstream{From: "ann", Data: plugintest.JSON(message{order, do})}); r.Err() != nil {
		t.Fatal(r.Err())
	}
}

// An order that is not paid within ten minutes is reminded of, once; one that is paid is not.
func TestRemindUnlessPaid(t *testing.T) {
	h := plugintest.New(t, reminder(), plugintest.Options{})
	tell(t, h, "7", "place")
	tell(t, h, "8", "place")
	tell(t, h, "7", "pay")
	if r := h.Advance(9 * time.Minute); r != nil {
		t.Errorf("reminded too early: %v", r)
	}
	h.Crash()
	h.Advance(time.Hour)
	sent := h.Sent()
	if len(sent) != 1 || sent[0].To != sdk.Token("ann") || string(plugintest.JSON(sent[0].Data)) != `{"unpaid":"order/8"}` {
		t.Errorf("sent %v", sent)
	}
	if all := h.Timers(); len(all) != 0 {
		t.Errorf("left %v", all)
	}
}

// What the app should not send goes to the dead letters, with why.
func TestNotAMessage(t *testing.T) {
	h := plugintest.New(t, reminder(), plugintest.Options{})
	if r := h.Upstream(sdk.Upstream{Data: []byte(`7`)}); r.Status != plugintest.Rejected {
		t.Errorf("%+v", r)
	}
}
