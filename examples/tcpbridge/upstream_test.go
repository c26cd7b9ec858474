package main

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"balhost/sdk"
	"balhost/sdk/plugintest"
)

// An upstream comes to the BAL with GIMMM's fields, and is deleted when it is acked.
func TestUpstream(t *testing.T) {
	s := newStage(t, nil)
	b := s.logon(app)
	r := s.Upstream(sdk.Upstream{From: "ann", MessageID: "m1", Data: []byte("{\n\"say\": \"hi\"}")})
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	b.want(`{"message_type":"UPSTREAM","session_id":"com.example.bal","sequence_id":1,"host_session":"main",` +
		`"fcm_data":{"from":"ann","category":"com.example.bal","message_id":"m1","data":{"say":"hi"}}}`)
	s.keys("next/"+app, "out/"+app+"/0000000000000001")
	b.ack(1, 1, 7)
	s.keys("next/" + app)
}

// P8: what comes while no BAL is connected waits, in any number and over a new process, costs
// no attempt, and comes in order (P5). What was not acked comes again under its number.
func TestUpstreamsWaitForTheBAL(t *testing.T) {
	s := newStage(t, nil)
	var all []string
	for n := range 250 {
		s.say("ann", n)
		all = append(all, fmt.Sprint(n))
	}
	s.reload()
	b := s.logon(app)
	said, sequences := b.numbers(maxUnacked)
	if !slices.Equal(said, all[:maxUnacked]) || sequences[0] != 1 || sequences[99] != 100 {
		t.Errorf("first %q as %d", said, sequences)
	}
	b.ack(sequences[:50]...) // room for as many
	more, _ := b.numbers(50)
	if !slices.Equal(more, all[100:150]) {
		t.Errorf("then %q", more)
	}
	b.nc.Close()
	s.reload()
	b = s.logon(app)
	said, sequences = b.numbers(maxUnacked)
	if !slices.Equal(said, all[50:150]) || sequences[0] != 51 {
		t.Errorf("again %q as %d", said, sequences)
	}
	b.ack(sequences...)
	said, sequences = b.numbers(maxUnacked)
	if !slices.Equal(said, all[150:]) {
		t.Errorf("the rest %q", said)
	}
	b.ack(sequences...)
	s.keys("next/" + app)
}

// Handlers of many devices run at once, while the BAL takes and acks. Each device's order holds.
func TestOrderWithinADevice(t *testing.T) {
	s := newStage(t, nil)
	b := s.logon(app)
	const devices, each = 20, 30
	var ids atomic.Int64 // the host's ids grow; plugintest's do not within a millisecond
	for d := range devices {
		go func() {
			for n := range each {
				s.Upstream(sdk.Upstream{ID: fmt.Sprintf("%026d", ids.Add(1)), From: fmt.Sprint("device-", d), Data: plugintest.JSON(map[string]string{"n": fmt.Sprint(d, " ", n)})})
			}
		}()
	}
	next := map[int]int{}
	for range devices * each {
		said, sequences := b.numbers(1)
		var d, n int
		if _, err := fmt.Sscan(said[0], &d, &n); err != nil || next[d] != n {
			t.Fatalf("device %d: %d came, want %d", d, n, next[d])
		}
		next[d]++
		b.ack(sequences...)
	}
	s.keys("next/" + app)
}

// A message that no BAL can get goes to the dead letters; too many are tried again.
func TestNotHeld(t *testing.T) {
	s := newStage(t, map[string]any{"hold": 3})
	for _, m := range []sdk.Upstream{
		{Category: "a/b"},
		{Category: strings.Repeat("x", maxSessionID+1)},
		{Category: app, Data: plugintest.JSON(map[string]string{"x": strings.Repeat("x", maxHeld)})},
	} {
		if r := s.Upstream(m); r.Status != plugintest.Rejected {
			t.Errorf("%.40s: %v %s", m.Category, r.Status, r.Reason)
		}
	}
	for n := range 3 {
		s.say("ann", n)
	}
	if r := s.Upstream(sdk.Upstream{Category: app}); r.Status != plugintest.Retried || r.Delay != time.Minute || !strings.Contains(r.Reason, "3 messages wait") {
		t.Errorf("%v after %v: %s", r.Status, r.Delay, r.Reason)
	}
	if r := s.Upstream(sdk.Upstream{Category: "com.example.other"}); r.Err() != nil {
		t.Error(r.Err())
	}
	s.reload() // they are counted anew
	s.where()
	if r := s.Upstream(sdk.Upstream{Category: app}); r.Status != plugintest.Retried {
		t.Errorf("%v: %s", r.Status, r.Reason)
	}
	b := s.logon(app)
	_, sequences := b.numbers(3)
	b.ack(sequences...)
	s.keys("in/com.example.other/"+onlyKey(s, "in/com.example.other/"), "next/"+app)
	s.say("ann", 4)
}

// onlyKey is the end of the only key with a prefix.
func onlyKey(s *stage, prefix string) string {
	for _, key := range s.Keys() {
		if end, is := strings.CutPrefix(key, prefix); is {
			return end
		}
	}
	return ""
}
