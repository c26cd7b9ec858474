package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/hms"
	"balhost/sdk/message"
)

// Where Huawei's servers deliver.
const (
	huaweiUplinkPath   = "/v1/huawei/uplink"
	huaweiReceiptsPath = "/v1/huawei/receipts"
)

const (
	huaweiBodies = 32 << 20        // bytes of all that are read and not answered: who sends one is known only after it
	huaweiOfOne  = 4 << 20         // of those, the bytes of one address
	huaweiBody   = 1 << 20         // bytes of one
	huaweiSkew   = 5 * time.Minute // of the time that Huawei signs
)

// huawei takes what Huawei's servers deliver. Spec: fcm-v1-and-gateway.md E.
type huawei struct {
	o      *Options
	bodies unproven // a body that comes slowly takes no room before it is there
	peerOf func(*http.Request) peer
	nonces nonces

	stored, duplicates, receipts, refused, denied atomic.Uint64
}

// newHuawei makes what serves Huawei; o.Huawei is set.
func newHuawei(o *Options, peerOf func(*http.Request) peer) *huawei {
	return &huawei{o: o, peerOf: peerOf, bodies: unproven{all: huaweiBodies, each: huaweiOfOne}}
}

// routes adds Huawei's two ways in.
func (h *huawei) routes(p paths) {
	p["POST "+huaweiUplinkPath] = h.bounded(h.uplink)
	p["POST "+huaweiReceiptsPath] = h.bounded(h.deliveries)
}

// huaweiAnswer is what Huawei reads: old pages want errno, and new ones code.
type huaweiAnswer struct {
	status int
	text   string
}

var (
	uplinkTaken   = huaweiAnswer{http.StatusOK, `{"errno":"0","errmsg":"success"}`}
	receiptsTaken = huaweiAnswer{http.StatusOK, `{"code":"0","message":"success","errno":"0","errmsg":"success"}`}
	huaweiDenied  = huaweiAnswer{http.StatusUnauthorized, `{"code":"1","message":"wrong signature","errno":"1","errmsg":"wrong signature"}`}
	huaweiWrong   = huaweiAnswer{http.StatusBadRequest, `{"code":"1","message":"wrong body","errno":"1","errmsg":"wrong body"}`}
	huaweiLarge   = huaweiAnswer{http.StatusRequestEntityTooLarge, `{"code":"1","message":"too large","errno":"1","errmsg":"too large"}`}
	huaweiLater   = huaweiAnswer{http.StatusServiceUnavailable, `{"code":"1","message":"try later","errno":"1","errmsg":"try later"}`}
)

// bounded reads a request's body within what all may hold, and answers it.
func (h *huawei) bounded(serve func(r *http.Request, body []byte) huaweiAnswer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer := h.read(w, r, serve)
		w.Header().Set("Content-Type", "application/json")
		if answer == huaweiLater {
			w.Header().Set("Retry-After", "30")
		}
		w.WriteHeader(answer.status)
		_, _ = io.WriteString(w, answer.text) // who does not get it delivers again
	}
}

func (h *huawei) read(w http.ResponseWriter, r *http.Request, serve func(r *http.Request, body []byte) huaweiAnswer) huaweiAnswer {
	var body bytes.Buffer
	room := h.bodies.of(h.peerOf(r))
	_, err := body.ReadFrom(budgeted{http.MaxBytesReader(w, r.Body, huaweiBody), room})
	defer func() { room.give(body.Len()) }()
	switch large := new(http.MaxBytesError); {
	case errors.As(err, &large):
		return huaweiLarge
	case err != nil:
		return huaweiLater
	}
	unlimited(w)
	return serve(r, body.Bytes())
}

// uplink stores one message of a device. What Huawei has signed, and can be nobody's,
// becomes a dead letter (P8).
func (h *huawei) uplink(r *http.Request, body []byte) huaweiAnswer {
	now := time.Now()
	s, err := hms.ParseSignature(r.Header.Get(hms.UplinkHeader))
	// A repeat that is older than MaxTTL would be stored twice. One that is younger is known (P6).
	if err != nil || s.Time.After(now.Add(huaweiSkew)) || now.Sub(s.Time) > h.o.MaxTTL || !s.SignsUplink(h.o.Huawei.CallbackKey.Reveal(), body) {
		h.denied.Add(1)
		return huaweiDenied
	}
	u, err := hms.ParseUplink(body)
	again := false
	in := entry.Inbound{Again: &again, Via: message.Huawei, Upstream: &message.Upstream{
		Session: h.o.SenderID, From: u.From, Category: u.Category, MessageID: u.MessageID, Data: u.Data, Raw: body,
	}}
	if err != nil {
		in.Unusable = "uplink of Huawei: " + err.Error()
	}
	stored := make(chan error, 1)
	h.o.Inbox.Accept(in, func(err error) { stored <- err })
	switch err := <-stored; {
	case errors.Is(err, entry.ErrTooLarge):
		h.refused.Add(1)
		return huaweiLarge
	case err != nil:
		return huaweiLater
	case again:
		h.duplicates.Add(1)
	default:
		h.stored.Add(1)
	}
	return uplinkTaken
}

// deliveries stores receipts. They are signed without their body, so each must be of a
// message that this session has sent to that device. The test of Huawei's console comes
// unsigned, and wants a success: nothing of it is stored.
func (h *huawei) deliveries(r *http.Request, body []byte) huaweiAnswer {
	header := r.Header.Get(hms.ReceiptHeader)
	if header == "" {
		return receiptsTaken
	}
	now := time.Now()
	s, err := hms.ParseSignature(header)
	if err != nil || s.Time.Sub(now).Abs() > huaweiSkew || !s.SignsReceipts(h.o.Huawei.CallbackKey.Reveal(), h.o.Huawei.CallbackUser) {
		h.denied.Add(1)
		return huaweiDenied
	}
	all, err := hms.ParseReceipts(body)
	if err != nil {
		h.refused.Add(1)
		return huaweiWrong
	}
	switch h.nonces.begin(s.Nonce, now) {
	case nonceDone: // its answer was lost, or somebody has read it
		return receiptsTaken
	case nonceBusy:
		return huaweiLater
	}
	stored := h.store(all)
	h.nonces.end(s.Nonce, stored)
	if !stored {
		return huaweiLater
	}
	return receiptsTaken
}

// store reports whether all receipts are on disk that can be.
func (h *huawei) store(all []hms.Receipt) bool {
	done := make(chan error, len(all))
	for _, one := range all {
		h.o.Inbox.Accept(entry.Inbound{FromDevice: true, Receipt: &message.Receipt{
			Session: h.o.SenderID, OriginalMessageID: one.MessageID, Device: one.Token, Category: one.Category, Status: one.Status, SentAt: one.At,
		}}, func(err error) { done <- err })
	}
	whole := true
	for range all {
		switch err := <-done; {
		case err == nil:
			h.receipts.Add(1)
		case errors.Is(err, entry.ErrNotSent), errors.Is(err, entry.ErrTooLarge):
			h.refused.Add(1)
		default:
			whole = false
		}
	}
	return whole
}
