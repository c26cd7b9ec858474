package devicesim

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/frame"

	"github.com/coder/websocket"
)

// gate is a gateway that does what a test says. It stores what it acks, each id once.
type gate struct {
	t     *testing.T
	pipes chan net.Conn

	answer func(n int, w http.ResponseWriter, r *http.Request, ids []string) bool // true: it has answered
	socket func(n int, c *websocket.Conn, hello frame.Frame)                      // nil: stores and acks

	mu       sync.Mutex
	bearers  []string
	requests [][]string // ids of each request
	at       []time.Time
	hellos   []frame.Frame
	stored   []string
	known    map[string]bool
	receipts []string
}

// bubble runs a test in a synctest bubble, with a gateway and a device.
func bubble(t *testing.T, o Options, prepare func(*gate), f func(ctx context.Context, g *gate, d *Device)) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{t: t, pipes: make(chan net.Conn), known: map[string]bool{}}
		if prepare != nil {
			prepare(g)
		}
		ctx, cancel := context.WithCancel(t.Context())
		mux := http.NewServeMux()
		mux.HandleFunc("POST /v1/upstream", g.upstream)
		mux.HandleFunc("POST /v1/receipts", g.upstream)
		mux.HandleFunc("GET /v1/ws", g.ws)
		server := &http.Server{Handler: mux, BaseContext: func(net.Listener) context.Context { return ctx }}
		var served sync.WaitGroup
		served.Go(func() { server.Serve(pipeListener{ctx, g.pipes}) })
		o.URL, o.Seed = "http://gateway", 7
		if o.From == "" {
			o.From = "phone-1"
		}
		o.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			mine, its := net.Pipe()
			select {
			case g.pipes <- its:
				return mine, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		f(ctx, g, d)
		cancel()
		server.Close()
		served.Wait()
		synctest.Wait()
	})
}

type pipeListener struct {
	ctx   context.Context
	pipes chan net.Conn
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.pipes:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}
func (pipeListener) Close() error   { return nil }
func (pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (g *gate) upstream(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return // the connection was cut
	}
	var body struct {
		frame.Message
		Messages []frame.Message
		Receipts []struct {
			Original string `json:"original_message_id"`
			Status   string
			From     string
		}
	}
	if err := json.Unmarshal(text, &body); err != nil {
		g.t.Errorf("a body that is not JSON: %s", text)
	}
	if body.MessageID != "" {
		body.Messages = append(body.Messages, body.Message)
	}
	var ids []string
	results := []map[string]string{}
	for _, m := range body.Messages {
		ids = append(ids, m.MessageID)
	}
	g.mu.Lock()
	n := len(g.requests)
	g.requests, g.at = append(g.requests, ids), append(g.at, time.Now())
	g.bearers = append(g.bearers, r.Header.Get("Authorization"))
	g.mu.Unlock()
	if g.answer != nil && g.answer(n, w, r, ids) {
		return
	}
	for _, id := range ids {
		status := "stored"
		if !g.store(id) {
			status = "duplicate"
		}
		results = append(results, map[string]string{"message_id": id, "status": status})
	}
	g.mu.Lock()
	for _, r := range body.Receipts {
		g.receipts = append(g.receipts, r.From+" "+r.Original+" "+r.Status)
	}
	g.mu.Unlock()
	w.WriteHeader(http.StatusAccepted)
	json.NewEncoder(w).Encode(map[string]any{"results": results})
}

// store reports whether an id is new.
func (g *gate) store(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known[id] {
		return false
	}
	g.known[id], g.stored = true, append(g.stored, id)
	return true
}

func (g *gate) ws(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{frame.Subprotocol}})
	if err != nil {
		return
	}
	defer c.CloseNow()
	hello, err := get(r.Context(), c)
	if err != nil {
		return
	}
	g.mu.Lock()
	n := len(g.hellos)
	g.hellos, g.at = append(g.hellos, hello), append(g.at, time.Now())
	g.mu.Unlock()
	if g.socket != nil {
		g.socket(n, c, hello)
		return
	}
	welcome(c)
	for {
		f, err := get(r.Context(), c)
		if err != nil {
			return
		}
		g.takes(c, f)
	}
}

// takes stores and acks an upstream or a receipt.
func (g *gate) takes(c *websocket.Conn, f frame.Frame) {
	switch f.Type {
	case frame.TypeUpstream:
		g.store(f.MessageID)
		put(c, frame.Frame{Type: frame.TypeAck, MessageID: f.MessageID})
	case frame.TypeReceipt:
		g.mu.Lock()
		g.receipts = append(g.receipts, f.Original+" "+f.Status)
		g.mu.Unlock()
		put(c, frame.Frame{Type: frame.TypeAck, Original: f.Original, Status: f.Status})
	}
}

func welcome(c *websocket.Conn) {
	put(c, frame.Frame{Type: frame.TypeWelcome, MaxUnacked: 5, PingSeconds: 25})
}

func put(c *websocket.Conn, f frame.Frame) error {
	return c.Write(context.Background(), websocket.MessageText, f.Append(nil))
}

func get(ctx context.Context, c *websocket.Conn) (frame.Frame, error) {
	_, text, err := c.Read(ctx)
	if err != nil {
		return frame.Frame{}, err
	}
	return frame.DecodeFrame(text)
}

// got is a copy of what the gateway has seen.
func (g *gate) got() (stored []string, hellos []frame.Frame, at []time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string{}, g.stored...), append([]frame.Frame{}, g.hellos...), append([]time.Time{}, g.at...)
}
