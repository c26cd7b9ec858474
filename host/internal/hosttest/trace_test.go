package hosttest

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/ccssim"
	"balhost/host/internal/otlp"
	"balhost/host/internal/span"
	"balhost/sdk/message"
	"balhost/sdk/wire"

	"github.com/hashicorp/go-hclog"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// told keeps the spans that hosts tell, in their order.
type told struct {
	mu    sync.Mutex
	spans []span.Done
}

func (k *told) tell(d span.Done) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.spans = append(k.spans, d)
}

// exported are spans as a collector gets them, by OTLP.
func exported(t *testing.T, spans []span.Done) (got []*tracepb.Span) {
	t.Helper()
	var mu sync.Mutex
	to := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		var all collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &all)
		}
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range all.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				got = append(got, ss.GetSpans()...)
			}
		}
	}))
	defer to.Close()
	e, err := otlp.Open(t.Context(), otlp.Options{Endpoint: to.URL, Sample: 1, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range spans {
		e.Tracer().Tell(d)
	}
	defer e.Close()
	all := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) == len(spans)
	}
	for late := time.Now().Add(time.Minute); !all() && time.Now().Before(late); {
		time.Sleep(10 * time.Millisecond)
	}
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(got)
}

// tree are spans, each below its parent, in the order of their beginnings.
func tree(spans []*tracepb.Span, parent string, depth int) (lines []string) {
	for _, s := range spans {
		if hex.EncodeToString(s.GetParentSpanId()) != parent {
			continue
		}
		line := strings.Repeat("  ", depth) + s.GetName()
		for _, key := range []string{"balhost.transport", "balhost.attempt", "balhost.result", "balhost.code"} {
			for _, a := range s.GetAttributes() {
				if a.GetKey() == key {
					line += " " + strings.TrimSuffix(a.GetValue().GetStringValue()+fmt.Sprint(a.GetValue().GetIntValue()), "0")
				}
			}
		}
		if why := s.GetStatus().GetMessage(); why != "" {
			line += ": " + why
		}
		lines = append(lines, line)
		lines = append(lines, tree(spans, hex.EncodeToString(s.GetSpanId()), depth+1)...)
	}
	return lines
}

// TestOneTrace: an upstream fails, the host is killed, and starts again; then the handler sends
// and sets a timer, the host stops and starts, the downstream is refused once, its outcome is
// told, and the timer sends too. All of it is one trace, as a collector gets it, and each span
// is below what it came of.
func TestOneTrace(t *testing.T) {
	const device = "a-device-with-a-long-token"
	dir := t.TempDir()
	keep := &told{}
	var id, parents []string
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		send := func(event string, to string) *wire.Downstream {
			m, err := message.Downstream{MessageID: event + "-1", To: message.Token(to)}.Checked()
			if err != nil {
				t.Error(err)
			}
			return wire.DownstreamToProto(m)
		}
		pl := &Plugin{
			Name: "echo", Categories: []string{"*"}, Order: "device", Outcome: true, Timer: true,
			Handle: func(_ context.Context, _ *Process, d *wire.Delivery) *wire.Result {
				parents = append(parents, d.GetTraceparent())
				var changes wire.Changes
				switch {
				case d.GetUpstream() != nil:
					if tries++; tries == 1 {
						return &wire.Result{Code: wire.Result_RETRY, DelayMs: 60_000, Error: "no room for " + device}
					}
					changes.Send = append(changes.Send, send(d.GetUpstream().GetId(), device))
					changes.Schedule = append(changes.Schedule, &wire.Schedule{Key: "later", AtMs: time.Now().Add(10 * time.Minute).UnixMilli()})
				case d.GetTimer() != nil:
					changes.Send = append(changes.Send, send(d.GetTimer().GetId(), "another-device-with-a-token"))
				}
				return &wire.Result{Code: wire.Result_DONE, Changes: &changes}
			},
		}
		o := simple(t, dir, pl)
		o.Tracer = span.New(1, keep.tell)
		start := func() *Host {
			h, err := Start(o)
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		h := start()
		o.Server.Nack(ccssim.Nack{Count: 1, Token: device, Code: "SERVICE_UNAVAILABLE", Description: "not " + device})
		o.Server.Upstream(device, "com.example", map[string]string{"secret": "of the device"})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		h.Kill()
		if err := h.Wait(); err != nil {
			t.Error(err)
		}
		h = start()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if err := h.Stop(); err != nil {
			t.Error(err)
		}
		h = start()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		page, err := h.API.Messages(t.Context(), admin.MessageQuery{Limit: 100})
		if err != nil || len(page.Messages) != 6 {
			t.Errorf("%+v, %v", page, err)
		}
		for _, m := range page.Messages {
			id = append(id, m.TraceID)
		}
		if err := h.Stop(); err != nil {
			t.Error(err)
		}
		o.Server.Close()
	})
	spans := exported(t, keep.spans)
	slices.SortStableFunc(spans, func(a, b *tracepb.Span) int { return int(a.GetStartTimeUnixNano()) - int(b.GetStartTimeUnixNano()) })
	want := `receive upstream ccs
  commit
  handle upstream 1 retried: no room for a-device-with-a-…
  handle upstream 2 handled
    create downstream
      send downstream ccs 1 retry SERVICE_UNAVAILABLE: SERVICE_UNAVAILABLE
      send downstream ccs 2
        handle outcome 1 handled
          commit
    commit
    handle timer 1 handled
      create downstream
        send downstream ccs 1
          handle outcome 1 handled
            commit
      commit`
	if got := strings.Join(tree(spans, "", 0), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	traces, text := map[string]bool{}, ""
	for _, s := range spans {
		traces[hex.EncodeToString(s.GetTraceId())] = true
		text += s.String()
	}
	if len(traces) != 1 || len(spans) != strings.Count(want, "\n")+1 {
		t.Errorf("%d spans are of %d traces", len(spans), len(traces))
	}
	for _, one := range id {
		if !traces[one] {
			t.Errorf("a message is said to be of the trace %q", one)
		}
	}
	if strings.Contains(text, device) || strings.Contains(text, "of the device") {
		t.Errorf("there is a token or data in it:\n%s", text)
	}
	for _, parent := range parents {
		is, sampled, ok := span.Parse(parent)
		if !ok || !sampled || !traces[span.TraceID(&is)] || !slices.ContainsFunc(spans, func(s *tracepb.Span) bool {
			return [8]byte(s.GetSpanId()) == is.ID && strings.HasPrefix(s.GetName(), "handle ")
		}) {
			t.Errorf("a plugin was told %q, which is no span of an attempt", parent)
		}
	}
}

// What is not sampled tells the plugin so, and what the plugin names as its span is the parent.
func TestTraceOfPlugin(t *testing.T) {
	const own = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"
	for _, c := range []struct {
		name        string
		sample      float64
		traceparent string
		sampled     bool
		parent      string // of the downstream; "": it is not traced
	}{
		{"a span of its own", 1, own + "1", true, own[36:52]},
		{"not sampled by the plugin", 1, own + "0", true, "the attempt"},
		{"none", 1, "", true, "the attempt"},
		{"nonsense", 1, "00-abc", true, "the attempt"},
		{"not sampled by the host", 0, "", false, ""},
		{"sampled by the plugin alone", 0, own + "1", false, own[36:52]},
		{"sampled by nobody", 0, own + "0", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				keep := &told{}
				var was string
				pl := &Plugin{
					Name: "echo", Categories: []string{"*"}, Order: "device",
					Handle: func(_ context.Context, _ *Process, d *wire.Delivery) *wire.Result {
						was = d.GetTraceparent()
						m, err := message.Downstream{MessageID: d.GetUpstream().GetId() + "-1", To: message.Token("x")}.Checked()
						if err != nil {
							t.Error(err)
						}
						down := wire.DownstreamToProto(m)
						down.Traceparent = c.traceparent
						return &wire.Result{Code: wire.Result_DONE, Changes: &wire.Changes{Send: []*wire.Downstream{down}}}
					},
				}
				o := simple(t, dir, pl)
				o.Tracer = span.New(c.sample, keep.tell)
				h, err := Start(o)
				if err != nil {
					t.Fatal(err)
				}
				o.Server.Upstream("device", "com.example", nil)
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if err := h.Stop(); err != nil {
					t.Error(err)
				}
				o.Server.Close()
				is, sampled, ok := span.Parse(was)
				if !ok || sampled != c.sampled {
					t.Errorf("the plugin was told %q", was)
				}
				parent := ""
				for _, s := range keep.spans {
					if s.Name == "create downstream" {
						if parent = hex.EncodeToString(s.Parent[:]); s.Parent == is.ID {
							parent = "the attempt"
						}
					}
				}
				if parent != c.parent {
					t.Errorf("the downstream is below %q, want %q", parent, c.parent)
				}
			})
		})
	}
}
