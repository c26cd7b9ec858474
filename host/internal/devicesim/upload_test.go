package devicesim

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/frame"
)

func upstream(text string) frame.Message {
	return frame.Message{Data: json.RawMessage(`{"text":"` + text + `"}`)}
}

// An upstream keeps its id over every kind of failure, and goes oldest first. Sheet D.
func TestUploadKeepsIDs(t *testing.T) {
	var sent []string
	asked := 0
	o := Options{
		OnMessageSent: func(id string) { sent = append(sent, id) },
		Credential: func(context.Context) (Credential, error) {
			asked++
			return Credential{Token: fmt.Sprint("t", asked)}, nil
		},
	}
	answers := func(g *gate) {
		g.answer = func(n int, w http.ResponseWriter, r *http.Request, ids []string) bool {
			switch n {
			case 0:
				w.Header().Set("Retry-After", "20")
				w.WriteHeader(http.StatusServiceUnavailable)
			case 1:
				for _, id := range ids {
					g.store(id)
				}
				panic(http.ErrAbortHandler) // it is stored, and the answer gets lost
			case 2:
				w.WriteHeader(http.StatusUnauthorized)
			case 3:
				w.WriteHeader(http.StatusBadGateway)
				fmt.Fprint(w, "<html>")
			default:
				return false
			}
			return true
		}
	}
	bubble(t, o, answers, func(ctx context.Context, g *gate, d *Device) {
		var want []string
		for i := range 3 {
			id, err := d.Send(upstream(fmt.Sprint(i)))
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, id)
		}
		if err := d.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(sent, want) || asked != 2 || len(g.requests) != 5 {
			t.Errorf("sent %v, want %v; %d credentials, %d requests", sent, want, asked, len(g.requests))
		}
		for _, ids := range g.requests {
			if !slices.Equal(ids, want) {
				t.Errorf("a request had the ids %v, want %v", ids, want)
			}
		}
		if wait := g.at[1].Sub(g.at[0]); wait < 20*time.Second {
			t.Errorf("the device waited %s, and Retry-After was 20 s", wait)
		}
		if g.bearers[2] != "Bearer t1" || g.bearers[3] != "Bearer t2" {
			t.Errorf("credentials: %v", g.bearers)
		}
		if c := d.Counts(); c.Sent != 3 || c.Duplicates != 3 {
			t.Errorf("%+v", c)
		}
	})
}

// What the gateway refuses for good leaves the queue, with the old SDK's code. Sheet C2, D.
func TestUploadReportsRefusals(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   Code
	}{
		{400, `{"error":"INVALID_JSON","description":"d"}`, InvalidParameters},
		{413, `{"error":"TOO_BIG"}`, TooBig},
		{415, `{}`, Unknown},
		{403, `{"error":"FORBIDDEN"}`, InvalidParameters},
		{404, `<html>`, Unknown},
		{202, `{"results":[{"message_id":"m","status":"refused","error":"INVALID_FIELD","description":"d"}]}`, InvalidParameters},
	} {
		var failed []string
		o := Options{OnSendError: func(id string, code Code, _ string) { failed = append(failed, fmt.Sprint(id, " ", code)) }}
		bubble(t, o, func(g *gate) {
			g.answer = func(_ int, w http.ResponseWriter, _ *http.Request, _ []string) bool {
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
				return true
			}
		}, func(ctx context.Context, g *gate, d *Device) {
			m := upstream("x")
			m.MessageID = "m"
			d.Send(m)
			if err := d.Flush(ctx); err != nil || !slices.Equal(failed, []string{fmt.Sprint("m ", c.want)}) || len(g.requests) != 1 {
				t.Errorf("%d %s: %v, %v after %d requests", c.status, c.body, failed, err, len(g.requests))
			}
		})
	}
}

// A credential that is refused twice is over. What waits stays.
func TestUploadDenied(t *testing.T) {
	bubble(t, Options{}, func(g *gate) {
		g.answer = func(_ int, w http.ResponseWriter, _ *http.Request, _ []string) bool {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
	}, func(ctx context.Context, g *gate, d *Device) {
		d.Send(upstream("x"))
		if err := d.Flush(ctx); !errors.Is(err, ErrDenied) || len(d.Waiting()) != 1 || len(g.requests) != 2 {
			t.Errorf("%v, %d wait, %d requests", err, len(d.Waiting()), len(g.requests))
		}
	})
}

// The queue's limits are those of the old SDK. Sheet C1, D.
func TestQueueLimits(t *testing.T) {
	var failed []string
	o := Options{TTL: time.Minute, OnSendError: func(id string, code Code, _ string) { failed = append(failed, code.String()) }}
	bubble(t, o, func(g *gate) {
		g.answer = func(_ int, w http.ResponseWriter, _ *http.Request, _ []string) bool {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
	}, func(ctx context.Context, g *gate, d *Device) {
		code := func(m frame.Message) Code {
			_, err := d.Send(m)
			wrong := new(SendError)
			if !errors.As(err, &wrong) {
				t.Fatalf("it was taken: %v", err)
			}
			return wrong.Code
		}
		if c := code(upstream(strings.Repeat("x", 64<<10))); c != TooBig {
			t.Error(c)
		}
		if c := code(frame.Message{Data: json.RawMessage("{")}); c != InvalidParameters {
			t.Error(c)
		}
		for range 20 {
			if _, err := d.Send(upstream("x")); err != nil {
				t.Fatal(err)
			}
		}
		if c := code(upstream("x")); c != TooManyMessages {
			t.Error(c)
		}
		if err := d.Flush(ctx); err != nil || len(failed) != 20 || failed[0] != "ERROR_TTL_EXCEEDED" {
			t.Errorf("%v: %v", err, failed)
		}
	})
}

// Twenty messages of the largest size are more than a body may have.
func TestUploadBodies(t *testing.T) {
	bubble(t, Options{}, nil, func(ctx context.Context, g *gate, d *Device) {
		for range 20 {
			d.Send(upstream(strings.Repeat("x", 60<<10)))
		}
		if err := d.Flush(ctx); err != nil || len(g.stored) != 20 || len(g.requests) != 5 {
			t.Errorf("%v; %d stored in %d requests", err, len(g.stored), len(g.requests))
		}
	})
}

// A push by FCM reaches the app once, and its receipt goes to the gateway. Sheet D.
func TestPushes(t *testing.T) {
	var app []string
	o := Options{OnMessage: func(p Push) { app = append(app, p.ID) }}
	bubble(t, o, nil, func(ctx context.Context, g *gate, d *Device) {
		for _, id := range []string{"d1", "d2", "d1"} {
			d.Push(Push{ID: id, Receipt: true})
		}
		if err := d.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(app, []string{"d1", "d2"}) || len(g.receipts) != 3 || g.receipts[0] != "phone-1 d1 MESSAGE_SENT_TO_DEVICE" {
			t.Errorf("%v %v", app, g.receipts)
		}
		for i := range Remembered {
			d.Push(Push{ID: fmt.Sprint("more", i)})
		}
		if d.Push(Push{ID: "more0"}) || !d.Push(Push{ID: "d1"}) {
			t.Error("want the last 200 ids remembered, and no more")
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "30": 30 * time.Second, "-1": 0, "7200": time.Hour, "soon": 0, "99999999999999999999": 0,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// A certificate that the device does not trust gets no better by waiting: Flush and Connect
// end at once.
func TestUntrusted(t *testing.T) {
	g := httptest.NewUnstartedServer(http.NotFoundHandler())
	g.Config.ErrorLog = log.New(io.Discard, "", 0)
	g.StartTLS()
	defer g.Close()
	d, err := New(Options{URL: g.URL, From: "phone-1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Send(upstream("a")); err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]func(context.Context) error{"Flush": d.Flush, "Connect": d.Connect} {
		err := try(t.Context())
		if !errors.Is(err, ErrUntrusted) || !errors.As(err, new(x509.UnknownAuthorityError)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
