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

var errGoexit = errors.New("the handler ended its goroutine (runtime.Goexit, or t.FailNow in a test)")

func (l *link) start(h *handling) {
	//house:go work counts them, and windDown waits for them
	go l.handle(h)
}

// handle runs one handler and sends its result, also after a panic or a Goexit.
func (l *link) handle(h *handling) {
	err := errGoexit
	defer func() {
		if v := recover(); v != nil {
			l.log.Error("handler panicked", append(ids(h.delivery), "attempt", h.delivery.Attempt, "err", v, "stack", string(debug.Stack()))...)
			err = fmt.Errorf("panic: %v", v)
		}
		l.report(h, err)
		h.end(errReturned)
		l.work.ended(h)
	}()
	err = l.call(h)
}

// ids are the log's pairs for an event: its id and the id of the message. The host
// logs the same pairs.
func ids(d *wire.Delivery) []any {
	switch e := d.Event.(type) {
	case *wire.Delivery_Upstream:
		return []any{"id", e.Upstream.GetId(), "msg_id", e.Upstream.GetMessageId()}
	case *wire.Delivery_Outcome:
		return []any{"id", e.Outcome.GetId(), "msg_id", e.Outcome.GetMessageId()}
	case *wire.Delivery_Receipt:
		return []any{"id", e.Receipt.GetId(), "msg_id", e.Receipt.GetOriginalMessageId()}
	case *wire.Delivery_Timer:
		return []any{"id", e.Timer.GetId(), "key", e.Timer.GetKey()}
	}
	return nil
}

// call runs the handler for the event. An event without a handler is done.
func (l *link) call(h *handling) error {
	d := h.delivery
	h.tx.calls, h.tx.sessions, h.tx.delivery, h.tx.timed = l.calls, l.host.sessions, d.Delivery, l.host.timed
	switch e := d.Event.(type) {
	case *wire.Delivery_Upstream:
		h.tx.event, h.tx.session = e.Upstream.GetId(), e.Upstream.GetSession()
		if l.plugin.Upstream != nil {
			return l.plugin.Upstream(h, &h.tx, wire.UpstreamFromProto(e.Upstream, d.Attempt))
		}
	case *wire.Delivery_Outcome:
		h.tx.event, h.tx.session = e.Outcome.GetId(), e.Outcome.GetSession()
		if l.plugin.Outcome != nil {
			return l.plugin.Outcome(h, &h.tx, wire.OutcomeFromProto(e.Outcome, d.Attempt))
		}
	case *wire.Delivery_Receipt:
		h.tx.event, h.tx.session = e.Receipt.GetId(), e.Receipt.GetSession()
		if l.plugin.Receipt != nil {
			return l.plugin.Receipt(h, &h.tx, wire.ReceiptFromProto(e.Receipt, d.Attempt))
		}
	case *wire.Delivery_Timer:
		h.tx.event, h.tx.session = e.Timer.GetId(), e.Timer.GetSession()
		if l.plugin.Timer != nil {
			return l.plugin.Timer(h, &h.tx, wire.TimerFromProto(e.Timer, d.Attempt))
		}
	default:
		return errors.New("this SDK does not know this kind of event: build the plugin with a newer SDK")
	}
	return nil
}

// report sends the result of a delivery: what err, the handler's error, asks for.
func (l *link) report(h *handling, err error) {
	id := h.delivery.Delivery
	changes := h.tx.end()
	if err == nil {
		if changes == nil {
			l.stream.Done(id)
			return
		}
		l.result(&wire.Result{Delivery: id, Code: wire.Result_DONE, Changes: changes})
		return
	}
	r := &wire.Result{Delivery: id, Code: wire.Result_RETRY, DelayMs: -1, Error: reason(h, err)}
	if reads := changes.Reads(); !reads.Empty() {
		r.Changes = reads // the error counts only if these keys have not changed
	}
	if _, ok := errors.AsType[*rejectError](err); ok {
		r.Code = wire.Result_REJECT
	} else if retry, ok := errors.AsType[*retryError](err); ok {
		if retry.after >= 0 {
			r.DelayMs = int64((retry.after + time.Millisecond - 1) / time.Millisecond)
		}
	} else if errors.Is(context.Cause(h), errStopping) {
		r.Code = wire.Result_RELEASE // it ended because the plugin stops: no attempt
	}
	l.result(r)
}

// reason is the error's text. If the error comes from the end of ctx, the reason
// also says why ctx ended.
func reason(h *handling, err error) string {
	text := err.Error()
	if cause := context.Cause(h); cause != nil && errors.Is(err, h.Err()) {
		text = fmt.Sprintf("%v: %s", cause, text)
	}
	if len(text) > wire.MaxError {
		text = text[:wire.MaxError] + " …"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

func (l *link) release(delivery uint64) {
	l.result(&wire.Result{Delivery: delivery, Code: wire.Result_RELEASE})
}

func (l *link) result(r *wire.Result) { l.stream.Send(&wire.PluginFrame{Result: []*wire.Result{r}}) }

// safely runs fn. A panic becomes an error with the stack.
func safely(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return fn()
}
