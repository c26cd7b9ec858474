package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"balhost/host/internal/credential"
	"balhost/host/internal/entry"
	"balhost/host/internal/frame"
	"balhost/sdk/message"
)

// What a request may take. Spec: fcm-v1-and-gateway.md C5.
const (
	bodyLimit   = 10 * time.Second // from the header to the end of the body
	answerLimit = 10 * time.Second // for an answer
)

// request is one POST on its way to the ledger.
type request struct {
	g    *Gateway
	w    http.ResponseWriter
	r    *http.Request
	peer peer
	read time.Time
	body *bytes.Buffer
	room capacity // that body takes
}

// item is one message or receipt of a request.
type item struct {
	result frame.Result
	in     entry.Inbound // to be stored, unless result is refused
	again  bool          // the ledger's
	from   string        // as the device says
	wrong  *frame.Error
}

// kind is what a path takes.
type kind struct {
	split  func(body []byte) ([]json.RawMessage, *frame.Error)
	decode func(g *Gateway, b []byte) (*item, func(who identity) (entry.Inbound, *refusal))
}

// post serves one path. It answers 202 after all that is good is on disk (P1), in one
// Line, so that the order of a batch is kept.
func (g *Gateway) post(k kind) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := &request{g: g, w: w, r: r, peer: g.peerOf(r), read: time.Now(), room: &g.budget}
		defer q.done()
		results, no := q.serve(k)
		if no != nil {
			if no.status == http.StatusRequestTimeout || no.status == http.StatusRequestEntityTooLarge {
				w.Header().Set("Connection", "close") // the rest of the body is not waited for
			}
			refuse(w, no)
			return
		}
		reply(w, http.StatusAccepted, frame.Results{Results: results})
		g.tally.took(time.Since(q.read))
	}
}

func (q *request) serve(k kind) ([]frame.Result, *refusal) {
	if no := q.g.visit(q.peer); no != nil {
		return nil, no
	}
	defer q.g.leave(q.peer)
	if no := q.jsonType(); no != nil {
		return nil, no
	}
	var id credential.Identity
	var no *refusal
	signed := q.g.keys.signs() && credential.Signed(q.r.Header.Get("Authorization"))
	if signed {
		q.room = q.g.unproven.of(q.peer)
	} else { // nothing is read for a wrong credential
		id, no = q.g.identifyRequest(q, nil)
	}
	if no == nil {
		no = q.readBody()
	}
	if no == nil && signed {
		if id, no = q.g.identifyRequest(q, q.body.Bytes()); no == nil {
			no = q.proven()
		}
	}
	if no != nil {
		return nil, no
	}
	return q.g.handle(q, id, k)
}

// jsonType checks the type of the body. Another one needs no preflight, so a page of any
// origin could post it.
func (q *request) jsonType() *refusal {
	kind, params, err := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	charset, set := params["charset"]
	if err == nil && kind == "application/json" && (!set || strings.EqualFold(charset, "utf-8")) && q.r.Header.Get("Content-Encoding") == "" {
		return nil
	}
	return wrongRequest(http.StatusUnsupportedMediaType, frame.Wrong(frame.CodeWrongType, "the body has to be application/json in UTF-8, not compressed"))
}

// handle stores what a good credential has sent.
func (g *Gateway) handle(q *request, id credential.Identity, k kind) ([]frame.Result, *refusal) {
	raws, wrong := k.split(q.body.Bytes())
	switch {
	case wrong != nil && wrong.Code == frame.CodeTooBig:
		return nil, wrongRequest(http.StatusRequestEntityTooLarge, wrong)
	case wrong != nil:
		return nil, wrongRequest(http.StatusBadRequest, wrong)
	}
	items := make([]*item, len(raws))
	makes := make([]func(identity) (entry.Inbound, *refusal), len(raws))
	said := ""
	for i, raw := range raws {
		items[i], makes[i] = k.decode(g, raw)
		switch from := items[i].from; {
		case from == "" || from == said:
		case said == "":
			said = from
		default:
			return nil, wrongRequest(http.StatusForbidden, frame.Wrong(frame.CodeForbidden, "one request is of one device: from has two values"))
		}
	}
	if i := slices.IndexFunc(items, func(it *item) bool { return it.wrong != nil }); i >= 0 && said == "" && id.From == "" {
		return nil, wrongRequest(http.StatusBadRequest, items[i].wrong) // its from could not be read
	}
	who, no := g.device(q.r.Context(), id, said, "")
	if no != nil {
		return nil, no
	}
	for i, it := range items {
		if it.wrong == nil {
			if it.in, no = makes[i](who); no != nil && no.status == http.StatusForbidden {
				return nil, no
			} else if no != nil {
				it.wrong = &frame.Error{Code: no.code, Description: no.description}
			}
			it.in.Via, it.in.Traceparent = message.Gateway, q.r.Header.Get("Traceparent")
		}
	}
	return g.storeInTurn(who.from, items)
}

// storeInTurn stores items when the device may send so many, and has no other request that
// is not answered: two at once would have no order.
func (g *Gateway) storeInTurn(from string, items []*item) ([]frame.Result, *refusal) {
	if !g.turns.take(from) {
		return nil, &refusal{http.StatusTooManyRequests, frame.CodeOneAtATime, "another request of this device is not answered yet", time.Second}
	}
	defer g.turns.give(from)
	if wait := g.limits.wait(from, len(items)); wait > 0 {
		g.limited(from, "messages a second")
		return nil, &refusal{http.StatusTooManyRequests, frame.CodeTooMany, "too many messages a second", wait}
	}
	if err := g.store(items); err != nil {
		g.tally.noRoom.Add(uint64(len(items)))
		code := frame.CodeNoRoom
		if errors.Is(err, entry.ErrClosed) {
			code = frame.CodeNotReady
		}
		return nil, noRoom(code, "the host can't store it now: keep all of it, and send it again with the same ids")
	}
	results := make([]frame.Result, len(items))
	for i, it := range items {
		results[i] = g.result(it)
	}
	return results, nil
}

// store gives all that is good to the ledger, and waits until all is decided. An error says
// that not all is on disk.
func (g *Gateway) store(items []*item) error {
	var (
		line entry.Line
		mu   sync.Mutex // guards later
		all  sync.WaitGroup
		why  error
	)
	for _, it := range items {
		if it.wrong != nil {
			continue
		}
		it.in.Line, it.in.Again = &line, &it.again
		without := withoutCategory(it.in)
		all.Add(1)
		g.o.Inbox.Accept(it.in, func(err error) {
			defer all.Done()
			g.decided(err)
			switch {
			case err == nil:
				g.without(without)
			case never(err):
				it.wrong = &frame.Error{Code: neverCode(err), Description: err.Error()}
			default:
				mu.Lock()
				defer mu.Unlock()
				if why == nil {
					why = err
				}
			}
		})
	}
	all.Wait()
	return why
}

// result is what the device is told of one, and counts it.
func (g *Gateway) result(it *item) frame.Result {
	res, t := it.result, &g.tally
	switch {
	case it.wrong != nil:
		res.Status, res.Code, res.Description = frame.Refused, it.wrong.Code, it.wrong.Description
		t.refused.Add(1)
	case it.again:
		res.Status = frame.Duplicate
		t.duplicates.Add(1)
	default:
		res.Status = frame.Stored
		if it.in.Receipt != nil {
			t.receipts.Add(1)
		} else {
			t.stored.Add(1)
		}
	}
	return res
}

// upstreams and receipts are the two paths.
var upstreams = kind{split: frame.SplitMessages, decode: func(g *Gateway, b []byte) (*item, func(identity) (entry.Inbound, *refusal)) {
	m, wrong := frame.DecodeMessage(b)
	return &item{result: frame.Result{MessageID: m.MessageID}, from: m.From, wrong: wrong},
		func(who identity) (entry.Inbound, *refusal) { return g.envelope(who, m) }
}}

var receipts = kind{split: frame.SplitReceipts, decode: func(g *Gateway, b []byte) (*item, func(identity) (entry.Inbound, *refusal)) {
	r, wrong := frame.DecodeReceipt(b)
	return &item{result: frame.Result{OriginalMessageID: r.OriginalMessageID}, from: r.From, wrong: wrong},
		func(who identity) (entry.Inbound, *refusal) { return g.proof(who, r) }
}}
