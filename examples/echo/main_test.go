package main

import (
	"testing"

	"balhost/sdk"
	"balhost/sdk/plugintest"
)

func TestEcho(t *testing.T) {
	h := plugintest.New(t, echo(), plugintest.Options{})
	r := h.Upstream(sdk.Upstream{From: "ann", Data: plugintest.JSON(map[string]string{"say": "hi"})})
	if r.Err() != nil || len(r.Sent) != 1 {
		t.Fatalf("%v, sent %v", r.Err(), r.Sent)
	}
	want := `{"say":"hi"}`
	if got := r.Sent[0]; got.To != sdk.Token("ann") || string(plugintest.JSON(got.Data)) != want {
		t.Errorf("sent %s to %v, want %s to ann", plugintest.JSON(got.Data), got.To, want)
	}
}

// The same event a second time, as after a crash, makes the same downstream. Its id
// is made of the event's id, so the host stores it once.
func TestEchoTwiceIsOnce(t *testing.T) {
	h := plugintest.New(t, echo(), plugintest.Options{})
	m := sdk.Upstream{ID: "e1", From: "ann", Data: plugintest.JSON(map[string]string{"say": "hi"})}
	for range 2 {
		if r := h.Upstream(m); r.Err() != nil {
			t.Fatal(r.Err())
		}
	}
	if sent := h.Sent(); len(sent) != 1 || sent[0].MessageID != "e1-1" {
		t.Errorf("sent %v", sent)
	}
}
