package entry

// TraceSpan names one span of an OpenTelemetry trace. An event, a downstream and a timer that
// are traced have one with them, in memory and on disk: the span that made them, which is
// the parent of what happens to them next. So a host that starts again goes on with the
// same trace. nil is what is not traced.
type TraceSpan struct {
	Trace [16]byte // the trace's id; never zero
	ID    [8]byte  // the span's; never zero
	Hops  uint8    // handlers on the way from the trace's beginning; see span.MaxHops
}
