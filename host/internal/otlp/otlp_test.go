package otlp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/span"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// receiver is a collector that keeps what it gets.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	spans  []*tracepb.Span
	about  map[string]string // the last request's resource
	header http.Header
	status int // 0: 200
}

func receive(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		var all collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &all)
		}
		if err != nil || q.URL.Path != "/v1/traces" && q.URL.Path != "/base/v1/traces" || q.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %s: %v", q.Method, q.URL, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.header = q.Header
		if r.status != 0 {
			http.Error(w, "no", r.status)
			return
		}
		for _, rs := range all.GetResourceSpans() {
			r.about = map[string]string{}
			for _, a := range rs.GetResource().GetAttributes() {
				r.about[a.GetKey()] = a.GetValue().GetStringValue()
			}
			for _, ss := range rs.GetScopeSpans() {
				r.spans = append(r.spans, ss.GetSpans()...)
			}
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func open(t *testing.T, o Options) (*Exporter, *bytes.Buffer, *prometheus.Registry) {
	t.Helper()
	var log bytes.Buffer
	metrics := prometheus.NewRegistry()
	o.Log, o.Metrics = hclog.New(&hclog.LoggerOptions{Output: &log, Mutex: &sync.Mutex{}}), metrics
	e, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return e, &log, metrics
}

func count(t *testing.T, metrics *prometheus.Registry, exported, failed, dropped int) {
	t.Helper()
	want := fmt.Sprintf(`# HELP balhost_tracing_spans_total Spans of traces, by what became of them: exported, failed (the collector did not take them) or dropped (too many waited).
# TYPE balhost_tracing_spans_total counter
balhost_tracing_spans_total{result="dropped"} %d
balhost_tracing_spans_total{result="exported"} %d
balhost_tracing_spans_total{result="failed"} %d
`, dropped, exported, failed)
	if err := testutil.GatherAndCompare(metrics, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

var done = span.Done{
	Name: "handle upstream", Kind: span.Consumer, Is: entry.TraceSpan{Trace: [16]byte{1, 15: 2}, ID: [8]byte{3, 7: 4}}, Parent: [8]byte{5, 7: 6},
	Start: time.Unix(1700000000, 5), End: time.Unix(1700000001, 6), Facts: []span.Fact{{Key: "balhost.plugin", Text: "shop"}, {Key: "balhost.attempt", Number: 2}},
	Error: "no stock",
}

// A span arrives as it was told.
func TestExport(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
	r := receive(t)
	e, _, metrics := open(t, Options{Endpoint: r.URL + "/base", Sample: 1, Version: "1.2", Headers: map[string]string{"authorization": "secret"}})
	e.Tracer().Tell(done)
	root := done
	root.Parent, root.Error = [8]byte{}, ""
	e.Tracer().Tell(root)
	shut(t, e)
	count(t, metrics, 2, 0, 0)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.spans) != 2 || r.about["service.name"] != "balhost" || r.about["service.version"] != "1.2" || r.about["deployment.environment"] != "test" || r.header.Get("Authorization") != "secret" {
		t.Fatalf("%v of %v, header %v", r.spans, r.about, r.header)
	}
	s := r.spans[0]
	if s.GetName() != done.Name || s.GetKind() != tracepb.Span_SPAN_KIND_CONSUMER || [16]byte(s.GetTraceId()) != done.Is.Trace || [8]byte(s.GetSpanId()) != done.Is.ID ||
		[8]byte(s.GetParentSpanId()) != done.Parent || s.GetStartTimeUnixNano() != 1700000000_000000005 || s.GetEndTimeUnixNano() != 1700000001_000000006 ||
		s.GetStatus().GetMessage() != "no stock" || s.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("%v", s)
	}
	for _, a := range s.GetAttributes() {
		if a.GetKey() == "balhost.plugin" && a.GetValue().GetStringValue() != "shop" || a.GetKey() == "balhost.attempt" && a.GetValue().GetIntValue() != 2 {
			t.Errorf("%v", a)
		}
	}
	if s := r.spans[1]; len(s.GetParentSpanId()) != 0 || s.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_UNSET || [16]byte(s.GetTraceId()) != done.Is.Trace || [8]byte(s.GetSpanId()) != done.Is.ID {
		t.Errorf("%v", s)
	}
}

// What the config leaves out is the environment's.
func TestEnvironment(t *testing.T) {
	r := receive(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=of-the-environment")
	e, _, metrics := open(t, Options{Sample: 1})
	e.Tracer().Tell(done)
	shut(t, e)
	count(t, metrics, 1, 0, 0)
	if got := r.header.Get("X-Key"); got != "of-the-environment" {
		t.Errorf("header %q", got)
	}
	if Endpoint("") != r.URL || Endpoint("http://x") != "http://x" {
		t.Errorf("it says %q", Endpoint(""))
	}
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	if _, err := Open(t.Context(), Options{Log: hclog.NewNullLogger()}); err == nil || !strings.Contains(err.Error(), "http/protobuf only") {
		t.Errorf("gRPC: %v", err)
	}
}

// A collector that never answers costs the memory of so many spans, and nobody waits for it.
func TestSlowCollector(t *testing.T) {
	free := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body)
		<-free
	}))
	defer slow.Close()
	e, log, metrics := open(t, Options{Endpoint: slow.URL, Sample: 1})
	tr := e.Tracer()
	for range 3 * Waiting {
		tr.Tell(done) // a Tell that waited would never return
	}
	if n := e.waiting.Load(); n != Waiting {
		t.Errorf("%d spans wait, want %d", n, Waiting)
	}
	if n := testutil.ToFloat64(e.spans.WithLabelValues(resultDropped)); n != 2*Waiting {
		t.Errorf("%v were dropped", n)
	}
	close(free)
	shut(t, e)
	count(t, metrics, Waiting, 0, 2*Waiting)
	if n := strings.Count(log.String(), "[WARN]"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
}

// One that is gone is said once, counted, and once it is there again, said again.
func TestDeadCollector(t *testing.T) {
	r := receive(t)
	r.status = http.StatusBadRequest
	e, log, metrics := open(t, Options{Endpoint: r.URL, Sample: 1})
	for range 3 {
		e.Tracer().Tell(done)
		flush(t, e)
	}
	count(t, metrics, 0, 3, 0)
	if n := strings.Count(log.String(), "does not take spans"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
	r.mu.Lock()
	r.status = 0
	r.mu.Unlock()
	e.Tracer().Tell(done)
	shut(t, e)
	count(t, metrics, 1, 3, 0)
	if !strings.Contains(log.String(), "takes spans again: lost=2") {
		t.Errorf("said:\n%s", log.String())
	}
}

// shut ends e after all is exported, however long that takes: Close alone gives up after a while.
func shut(t *testing.T, e *Exporter) {
	t.Helper()
	flush(t, e)
	e.Close()
}

func flush(t *testing.T, e *Exporter) {
	t.Helper()
	if err := e.provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	r := receive(t)
	if err := Check(t.Context(), Options{Endpoint: r.URL}); err != nil {
		t.Error(err)
	}
	r.status = http.StatusUnauthorized
	if err := Check(t.Context(), Options{Endpoint: r.URL}); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("%v", err)
	}
	gone := receive(t)
	gone.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := Check(ctx, Options{Endpoint: gone.URL}); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
}

// A collector that answers with a redirect gets no second request: spans and headers, which may
// be secrets, go where the config says, and nowhere else.
func TestRedirect(t *testing.T) {
	thief := receive(t)
	r := httptest.NewServer(http.RedirectHandler(thief.URL+"/v1/traces", http.StatusTemporaryRedirect))
	t.Cleanup(r.Close)
	o := Options{Endpoint: r.URL, Sample: 1, Headers: map[string]string{"x-team": "secret", "authorization": "secret"}}
	if err := Check(t.Context(), o); err == nil || !strings.Contains(err.Error(), "redirect") {
		t.Errorf("checked: %v", err)
	}
	e, log, metrics := open(t, o)
	e.Tracer().Tell(done)
	shut(t, e)
	count(t, metrics, 0, 1, 0)
	if !strings.Contains(log.String(), "redirect") {
		t.Errorf("log: %s", log)
	}
	thief.mu.Lock()
	defer thief.mu.Unlock()
	if thief.header != nil || len(thief.spans) > 0 {
		t.Errorf("another server got %v and %v", thief.header, thief.spans)
	}
}
