package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"balhost/sdk"
	"balhost/sdk/plugintest"
)

// say gives the plugin one device's request, and returns what the plugin has sent, as
// "token: event name text".
func say(t *testing.T, h *plugintest.Host, from string, pairs ...string) []string {
	t.Helper()
	data := map[string]string{"room": "r"}
	for i := 0; i < len(pairs); i += 2 {
		data[pairs[i]] = pairs[i+1]
	}
	r := h.Upstream(sdk.Upstream{From: from, Data: plugintest.JSON(data)})
	if r.Err() != nil {
		t.Fatalf("%v: %v", data, r.Err())
	}
	var sent []string
	for _, d := range r.Sent {
		var m map[string]string
		plugintest.Decode(d.Data, &m)
		sent = append(sent, strings.TrimSpace(fmt.Sprint(d.To.Token, ": ", m["event"], " ", m["name"], " ", m["text"], m["why"])))
	}
	return sent
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func TestARoom(t *testing.T) {
	h := plugintest.New(t, chatroom(), plugintest.Options{})
	expect(t, say(t, h, "a", "do", "join", "name", "Ann"))
	expect(t, say(t, h, "b", "do", "join", "name", "Bob"), "a: joined Bob")
	expect(t, say(t, h, "c", "do", "join", "name", "Cid"), "a: joined Cid", "b: joined Cid")
	expect(t, say(t, h, "b", "do", "say", "text", "hi"), "a: said Bob hi", "c: said Bob hi")
	expect(t, say(t, h, "c", "do", "leave"), "a: left Cid", "b: left Cid")
	expect(t, say(t, h, "a", "do", "leave"), "b: left Ann")
	expect(t, say(t, h, "b", "do", "leave"))
	if keys := h.Keys(); len(keys) != 0 {
		t.Errorf("an empty room is left behind: %q", keys)
	}
}

func TestRefused(t *testing.T) {
	h := plugintest.New(t, chatroom(), plugintest.Options{Config: map[string]int{"max_members": 1, "max_text": 3}})
	expect(t, say(t, h, "a", "do", "say", "text", "hi"), "a: refused  join the room first")
	expect(t, say(t, h, "a", "do", "join"), "a: refused  name: give one of 1 to 100 bytes")
	expect(t, say(t, h, "a", "room", ""), "a: refused  room: give a name of 1 to 100 bytes")
	expect(t, say(t, h, "a", "do", "join", "name", "Ann"))
	expect(t, say(t, h, "b", "do", "join", "name", "Bob"), "b: refused  room is full")
	expect(t, say(t, h, "a", "do", "say", "text", "long"), "a: refused  text: say something of 1 to 3 bytes")
	expect(t, say(t, h, "a", "do", "dance"), "a: refused  do: it must be join, say or leave")
	if r := h.Upstream(sdk.Upstream{Data: []byte(`{"do":1}`)}); r.Status != plugintest.Rejected {
		t.Errorf("data that can't be read: %v", r.Status)
	}
}

// One device gets a room's messages in order. Devices don't wait for each other.
func TestGroups(t *testing.T) {
	h := plugintest.New(t, chatroom(), plugintest.Options{})
	for _, who := range []string{"a", "b", "c"} {
		say(t, h, who, "do", "join", "name", who)
	}
	before := len(h.Sent())
	say(t, h, "a", "do", "say", "text", "1")
	say(t, h, "a", "do", "say", "text", "2")
	sent := h.Sent()[before:] // to b, c, b, c
	if sent[0].Group == "" || sent[0].Group != sent[2].Group || sent[0].Group == sent[1].Group {
		t.Errorf("groups %q %q %q", sent[0].Group, sent[1].Group, sent[2].Group)
	}
}

func TestTokensThatChange(t *testing.T) {
	h := plugintest.New(t, chatroom(), plugintest.Options{})
	for _, who := range []string{"a", "b"} {
		say(t, h, who, "do", "join", "name", who)
	}
	about := plugintest.JSON("r")
	if r := h.Outcome(sdk.Outcome{To: sdk.Token("b"), Status: sdk.Acked, NewToken: "b2", Context: about}); r.Err() != nil {
		t.Fatal(r.Err())
	}
	expect(t, say(t, h, "a", "do", "say", "text", "hi"), "b2: said a hi")
	if r := h.Outcome(sdk.Outcome{To: sdk.Token("b2"), Status: sdk.Failed, Code: "DEVICE_UNREGISTERED", Gone: true, Context: about}); r.Err() != nil {
		t.Fatal(r.Err())
	}
	expect(t, say(t, h, "a", "do", "say", "text", "hi"))
	if text, err := h.Metrics(); err != nil || !strings.Contains(text, "\nchatroom_outcomes_total{status=\"failed\"} 1\n") {
		t.Errorf("%q, %v", text, err)
	}
}

// The host handles one room's messages one after the other. The state would be right
// without that too: if a room has changed, the handler that read it runs again (P7).
func TestManyJoinAtOnce(t *testing.T) {
	h := plugintest.New(t, chatroom(), plugintest.Options{})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			data := map[string]string{"do": "join", "room": "r", "name": fmt.Sprint("n", i)}
			if r := h.Upstream(sdk.Upstream{From: fmt.Sprint("t", i), Data: plugintest.JSON(data)}); r.Err() != nil {
				t.Error(r.Err())
			}
		})
	}
	all.Wait()
	var members room
	if h.State("members/r", &members); len(members) != 20 {
		t.Errorf("%d members, want 20", len(members))
	}
}
