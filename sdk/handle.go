package sdk

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"balhost/sdk/wire"
)

const maxErrorText = 4 << 10 // of a reason that goes to the host

var errGoexit = errors.New("handler ended its goroutine (runtime.Goexit, or t.FailNow in a test)")

func (s *session) start(h *handling) {
	//house:go work knows each one, and the end of the session waits for it
	go s.handle(h)
}

// handle runs one handler and sends its result, whatever way it ends.
func (s *session) handle(h *handling) {
	err := errGoexit
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("handler panicked", append(name(h.delivery), "attempt", h.delivery.Attempt, "err", v, "stack", string(debug.Stack()))...)
			err = fmt.Errorf("panic: %v", v)
		}
		s.settle(h, err)
		h.end(errReturned)
		s.work.ended(h)
	}()
	err = s.call(h)
}

// name is what the log calls an event by, here as in the host: its id, and that of
// the message.
func name(d *wire.Delivery) []any {
	switch e := d.Event.(type) {
	case *wire.Delivery_Upstream:
		return []any{"id", e.Upstream.GetId(), "msg_id", e.Upstream.GetMessageId()}
	case *wire.Delivery_Outcome:
		return []any{"id", e.Outcome.GetId(), "msg_id", e.Outcome.GetMessageId()}
	case *wire.Delivery_Receipt:
		return []any{"id", e.Receipt.GetId(), "msg_id", e.Receipt.GetOriginalMessageId()}
	}
	return nil
}

// call runs the handler that the event is for. Without one it is done.
func (s *session) call(h *handling) error {
	d := h.delivery
	h.tx.calls, h.tx.delivery = s.calls, d.Delivery
	switch e := d.Event.(type) {
	case *wire.Delivery_Upstream:
		h.tx.event, h.tx.session = e.Upstream.GetId(), e.Upstream.GetSession()
		if s.plugin.Upstream != nil {
			return s.plugin.Upstream(h, &h.tx, wire.UpstreamFromProto(e.Upstream, d.Attempt))
		}
	case *wire.Delivery_Outcome:
		h.tx.event, h.tx.session = e.Outcome.GetId(), e.Outcome.GetSession()
		if s.plugin.Outcome != nil {
			return s.plugin.Outcome(h, &h.tx, wire.OutcomeFromProto(e.Outcome, d.Attempt))
		}
	case *wire.Delivery_Receipt:
		h.tx.event, h.tx.session = e.Receipt.GetId(), e.Receipt.GetSession()
		if s.plugin.Receipt != nil {
			return s.plugin.Receipt(h, &h.tx, wire.ReceiptFromProto(e.Receipt, d.Attempt))
		}
	default:
		return errors.New("event of a kind that this SDK does not know: build the plugin with a newer one")
	}
	return nil
}

// settle sends a delivery's end: what the handler's error asks for.
func (s *session) settle(h *handling, err error) {
	id := h.delivery.Delivery
	changes := h.tx.end()
	if err == nil {
		if changes == nil {
			s.stream.Done(id)
			return
		}
		s.result(&wire.Result{Delivery: id, Code: wire.Result_DONE, Changes: changes})
		return
	}
	r := &wire.Result{Delivery: id, Code: wire.Result_RETRY, DelayMs: -1, Error: reason(h, err)}
	if reads := changes.GetRead(); len(reads) > 0 {
		r.Changes = &wire.Changes{Read: reads} // an error that came of what is no longer true doesn't count
	}
	if _, ok := errors.AsType[*rejectError](err); ok {
		r.Code = wire.Result_REJECT
	} else if retry, ok := errors.AsType[*retryError](err); ok {
		if retry.after >= 0 {
			r.DelayMs = int64((retry.after + time.Millisecond - 1) / time.Millisecond)
		}
	} else if errors.Is(context.Cause(h), errStopping) {
		r.Code = wire.Result_RELEASE // it was our stop that it gave up for: no attempt
	}
	s.result(r)
}

// reason is the error's text, and why ctx ended where that may explain it.
func reason(h *handling, err error) string {
	text := err.Error()
	if cause := context.Cause(h); cause != nil && errors.Is(err, h.Err()) {
		text = fmt.Sprintf("%v: %s", cause, text)
	}
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + " …"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

func (s *session) release(delivery uint64) {
	s.result(&wire.Result{Delivery: delivery, Code: wire.Result_RELEASE})
}

func (s *session) result(r *wire.Result) { s.stream.Send(&wire.PluginFrame{Result: []*wire.Result{r}}) }

// safely is fn with a panic made an error that carries its stack.
func safely(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return fn()
}
