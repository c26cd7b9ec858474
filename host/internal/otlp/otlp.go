// Package otlp exports the spans of traces to a collector, by OTLP over HTTP, with the SDK of
// OpenTelemetry, which knows the variables OTEL_EXPORTER_OTLP_*. It holds at most [Waiting] spans. What finds
// no room is dropped and counted, so a collector that is slow or gone costs no more, and makes
// nobody wait. The SDK's goroutine exports; [Exporter.Close] waits for it. Start at [Open].
package otlp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/span"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Bounds of what is exported.
const (
	Waiting   = 2048             // spans that are over and not exported yet
	batch     = 512              // spans of one request
	every     = 2 * time.Second  // a batch that is not full waits so long
	patience  = 10 * time.Second // for one request, with its retries
	sayEvery  = 30 * time.Second // that spans are lost
	lastFlush = 3 * time.Second  // when the host stops
)

// Options say where spans go. Only Sample is needed: what is not set is that of the variables
// OTEL_EXPORTER_OTLP_*, or the SDK's default.
type Options struct {
	Endpoint string            // the collector's address without /v1/traces: http://127.0.0.1:4318
	Headers  map[string]string // of each request; they may be secrets
	Roots    *x509.CertPool    // that verify the collector; nil: the system's
	Sample   float64           // the part of messages that is traced, 0 to 1
	Version  string            // of the host
	Log      hclog.Logger
	Metrics  prometheus.Registerer // nil: nothing is counted
}

// client makes the SDK's client.
func (o *Options) client() (otlptrace.Client, error) {
	if protocol := protocol(); !strings.HasPrefix(protocol, "http/") {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q: traces go by http/protobuf only; most collectors take that at port 4318", protocol)
	}
	opts := []otlptracehttp.Option{otlptracehttp.WithProxy(proxy)}
	if o.Endpoint != "" {
		at, err := url.JoinPath(o.Endpoint, "v1/traces")
		if err != nil {
			return nil, fmt.Errorf("tracing endpoint %q: %w", o.Endpoint, err)
		}
		opts = append(opts, otlptracehttp.WithEndpointURL(at))
	}
	if len(o.Headers) > 0 {
		opts = append(opts, otlptracehttp.WithHeaders(o.Headers))
	}
	if o.Roots != nil {
		opts = append(opts, otlptracehttp.WithTLSClientConfig(&tls.Config{RootCAs: o.Roots}))
	}
	return otlptracehttp.NewClient(opts...), nil
}

// proxy is the environment's, and refuses what a redirect asks for: spans and headers go where the
// config says, and nowhere else. The SDK's client follows redirects, and would take
// the headers along; one of our own would not know the variables of TLS.
func proxy(r *http.Request) (*url.URL, error) {
	if r.Response != nil {
		return nil, errors.New("the collector answers with a redirect, which is not followed: give its real address")
	}
	return http.ProxyFromEnvironment(r)
}

// protocol is what the environment says.
func protocol() string {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if p := os.Getenv(name); p != "" {
			return p
		}
	}
	return "http/protobuf"
}

// Check asks the collector once, with a request that has no spans.
func Check(ctx context.Context, o Options) error {
	client, err := o.client()
	if err != nil {
		return err
	}
	return client.UploadTraces(ctx, nil)
}

// Exporter exports the spans that its Tracer is told. Its methods may be called from any
// goroutine.
type Exporter struct {
	log      hclog.Logger
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	waiting  atomic.Int64 // spans given to the SDK, and not exported yet
	spans    *prometheus.CounterVec
	sample   float64

	mu    sync.Mutex // guards what follows
	said  time.Time  // when the log said last that spans are lost
	lost  int        // since then
	wrong bool       // the last request failed
}

// Open starts to export. The caller closes it. The error is one of the options: a collector that
// can't be reached is none.
func Open(ctx context.Context, o Options) (*Exporter, error) {
	client, err := o.client()
	if err != nil {
		return nil, err
	}
	e := &Exporter{log: o.Log, sample: o.Sample, spans: newMetrics(o.Metrics)}
	sdk, err := otlptrace.New(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("open the exporter of traces: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "balhost"), attribute.String("service.version", o.Version)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	if err != nil {
		o.Log.Warn("OTEL_RESOURCE_ATTRIBUTES is used as far as it can be read", "err", err)
	}
	e.provider = sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.AlwaysSample()), // the span's Tracer has decided
		sdktrace.WithIDGenerator(given{}),
		sdktrace.WithResource(about),
		sdktrace.WithSpanProcessor(sdktrace.NewBatchSpanProcessor(counted{sdk, e},
			sdktrace.WithMaxQueueSize(2*Waiting), sdktrace.WithMaxExportBatchSize(batch), sdktrace.WithBatchTimeout(every), sdktrace.WithExportTimeout(patience))),
	)
	e.tracer = e.provider.Tracer("balhost", trace.WithInstrumentationVersion(o.Version))
	return e, nil
}

// Tracer is what engines tell spans to. Of a nil Exporter it is nil.
func (e *Exporter) Tracer() *span.Tracer {
	if e == nil {
		return nil
	}
	return span.New(e.sample, e.take)
}

// Close exports what waits, as far as a few seconds allow, and ends.
func (e *Exporter) Close() {
	if e == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastFlush)
	defer cancel()
	if err := e.provider.Shutdown(ctx); err != nil {
		e.log.Debug("the last spans of traces were not exported", "err", err)
	}
}

// given gives spans the ids that they have already: those in their context.
type given struct{}

func (given) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	is := ctx.Value(given{}).(entry.TraceSpan)
	return is.Trace, is.ID
}

func (given) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	return ctx.Value(given{}).(entry.TraceSpan).ID
}

var kinds = map[span.Kind]trace.SpanKind{
	span.Internal: trace.SpanKindInternal, span.Server: trace.SpanKindServer, span.Client: trace.SpanKindClient,
	span.Producer: trace.SpanKindProducer, span.Consumer: trace.SpanKindConsumer,
}

// take gives one span to the SDK, or drops it if too many wait.
func (e *Exporter) take(d span.Done) {
	if e.waiting.Add(1) > Waiting {
		e.waiting.Add(-1)
		e.drop(resultDropped, 1, nil)
		return
	}
	ctx := context.WithValue(context.Background(), given{}, d.Is)
	if d.Parent != [8]byte{} {
		ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: d.Is.Trace, SpanID: d.Parent, TraceFlags: trace.FlagsSampled, Remote: true}))
	}
	facts := make([]attribute.KeyValue, len(d.Facts))
	for i, f := range d.Facts {
		if facts[i] = attribute.Int(f.Key, f.Number); f.Text != "" {
			facts[i] = attribute.String(f.Key, f.Text)
		}
	}
	_, s := e.tracer.Start(ctx, d.Name, trace.WithSpanKind(kinds[d.Kind]), trace.WithTimestamp(d.Start), trace.WithAttributes(facts...))
	if d.Error != "" {
		s.SetStatus(codes.Error, d.Error)
	}
	s.End(trace.WithTimestamp(d.End))
}

// counted counts what the SDK has exported. It hides errors from the SDK, which would print
// each of them.
type counted struct {
	sdktrace.SpanExporter
	e *Exporter
}

func (c counted) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := c.SpanExporter.ExportSpans(ctx, spans)
	c.e.waiting.Add(-int64(len(spans)))
	if err != nil {
		c.e.drop(resultFailed, len(spans), err)
		return nil
	}
	c.e.exported(len(spans))
	return nil
}

// drop counts spans that are lost, and says so at most once in 30 s. err is that of the
// collector; nil: there was no room.
func (e *Exporter) drop(result string, n int, err error) {
	e.spans.WithLabelValues(result).Add(float64(n))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost += n
	e.wrong = e.wrong || err != nil
	if err == nil && e.wrong || time.Since(e.said) < sayEvery { // why there is no room was said
		return
	}
	e.said = time.Now()
	lost := e.lost
	e.lost = 0
	if err != nil {
		e.log.Warn("the collector of traces does not take spans; they are lost, and messages go on", "lost", lost, "err", why(err))
	} else {
		e.log.Warn("the collector of traces is too slow: spans are lost, and messages go on; a smaller sample makes fewer", "lost", lost)
	}
}

// exported counts spans that the collector has.
func (e *Exporter) exported(n int) {
	e.spans.WithLabelValues(resultExported).Add(float64(n))
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.wrong {
		e.log.Info("the collector of traces takes spans again", "lost", e.lost)
		e.wrong, e.lost, e.said = false, 0, time.Time{}
	}
}

// why is the collector's error, short: its answer can be a page.
func why(err error) string {
	text := err.Error()
	if len(text) > 512 {
		text = strings.ToValidUTF8(text[:512], "") + "…"
	}
	return text
}

// Endpoint is where spans go, for people: as the config or the environment says.
func Endpoint(configured string) string {
	for _, at := range []string{configured, os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")} {
		if at != "" {
			return at
		}
	}
	return "https://localhost:4318"
}
