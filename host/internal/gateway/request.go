package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"balhost/host/internal/credential"
	"balhost/host/internal/entry"
	"balhost/host/internal/frame"
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
		q := &request{g: g, w: w, r: r, peer: g.peerOf(r), read: time.Now()}
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
		g.tally.acks.Add(time.Since(q.read))
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
	if !signed { // nothing is read for a wrong credential
		id, no = q.g.identifyRequest(q, nil)
	}
	if no == nil {
		no = q.readBody()
	}
	if no == nil && signed {
		id, no = q.g.identifyRequest(q, q.body.Bytes())
	}
	if no != nil {
		return nil, no
	}
	return q.g.handle(q, id, k)
}

// done frees what the request holds.
func (q *request) done() {
	if q.body != nil {
		q.g.budget.give(q.body.Len())
		putScratch(q.body)
	}
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

var errBudget = errors.New("too many bytes are read and not committed")

// budgeted reads what the budget has room for.
type budgeted struct {
	io.Reader
	budget *budget
}

// Read implements [io.Reader].
func (b budgeted) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if !b.budget.take(n) {
		return 0, errBudget
	}
	return n, err
}

// readBody reads the body within its limits. An attacker has to send each byte that is
// held for it.
func (q *request) readBody() *refusal {
	q.body = scratch.Get().(*bytes.Buffer)
	_, err := q.body.ReadFrom(budgeted{http.MaxBytesReader(q.w, q.r.Body, frame.MaxBody), &q.g.budget})
	var big *http.MaxBytesError
	switch {
	case err == nil:
		unlimited(q.w)
		return nil
	case errors.As(err, &big):
		return wrongRequest(http.StatusRequestEntityTooLarge, frame.Wrong(frame.CodeTooBig, "the body is larger than %d KiB: send fewer messages at once", frame.MaxBody>>10))
	case errors.Is(err, errBudget):
		q.g.limited(q.peer.key, "bytes that are not committed, of all devices")
		return noRoom(frame.CodeNoRoom, "the host has too much to store: keep the messages, and send them again later")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return wrongRequest(http.StatusRequestTimeout, frame.Wrong(frame.CodeTooSlow, "the body did not come within %d s", bodyLimit/time.Second))
	}
	return wrongRequest(http.StatusBadRequest, frame.Wrong(frame.CodeInvalidJSON, "the body ends too early"))
}

// unlimited takes the limit of a body away, which has come whole: else the connection
// would end while the ledger commits.
func unlimited(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // not every writer of a test has one
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
		all.Add(1)
		g.o.Inbox.Accept(it.in, func(err error) {
			defer all.Done()
			g.decided(err)
			switch {
			case err == nil:
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
