package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/credential"
	"balhost/host/internal/frame"

	"github.com/hashicorp/go-hclog"
)

// house is a whole gateway on a network in memory, in a bubble.
type house struct {
	t     *testing.T
	g     *Gateway
	books *books
	l     *named
	stop  context.CancelFunc
	ended chan error
	log   *lockedBuffer
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// named is a listener whose connections have addresses.
type named struct{ memory }

type namedConn struct {
	net.Conn
	from net.Addr
}

func (c namedConn) RemoteAddr() net.Addr { return c.from }

// dialFrom connects as a machine at an address, such as "192.0.2.1:40000".
func (n *named) dialFrom(from string) net.Conn {
	near, far := net.Pipe()
	address := net.Addr(&net.UnixAddr{Name: "@", Net: "unix"})
	if from != "" {
		a, err := net.ResolveTCPAddr("tcp", from)
		if err != nil {
			panic(err)
		}
		address = a
	}
	n.conns <- namedConn{far, address}
	return near
}

const testToken = "devtoken-0123456789"

// inHouse runs f with a gateway whose options change may change. The gateway ends well.
func inHouse(t *testing.T, change func(*Options), f func(*testing.T, *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &house{t: t, books: newBooks(), ended: make(chan error, 1), log: &lockedBuffer{}}
		h.l = &named{memory{conns: make(chan net.Conn), shut: make(chan struct{})}}
		o := Options{
			Name: "main", SenderID: "4829", Listener: h.l, Inbox: h.books, Outbox: h.books,
			Auth: []credential.Rule{{Kind: credential.Static, Token: testToken}},
			Log:  hclog.New(&hclog.LoggerOptions{Output: h.log, Level: hclog.Trace}),
		}
		if change != nil {
			change(&o)
		}
		h.g = New(o)
		ctx, stop := context.WithCancel(context.Background())
		h.stop = stop
		go func() { h.ended <- h.g.Run(ctx) }()
		f(t, h)
		stop()
		if err := <-h.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		h.ended <- nil
		time.Sleep(time.Minute) // what goes on in net/http ends
		if n := h.g.budget.bytes(); n != 0 {
			t.Errorf("%d bytes are held at the end", n)
		}
		if n := h.g.seats.taken(); n != 0 {
			t.Errorf("%d seats are taken at the end", n)
		}
		if h.g.seats.strangers != 0 || len(h.g.limits.conns)+len(h.g.limits.asking)+len(h.g.turns.busy) != 0 {
			t.Errorf("counts at the end: %d strangers, %v, %v, %v", h.g.seats.strangers, h.g.limits.conns, h.g.limits.asking, h.g.turns.busy)
		}
		if text := h.log.String(); strings.Contains(text, testToken) || strings.Contains(text, "secret=") {
			t.Errorf("the log has a token or a query: %s", text)
		}
	})
}

// client is a device's HTTP client at an address. Each has its own connection.
func (h *house) client(from string) *http.Client {
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return h.l.dialFrom(from), nil }}
	h.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// received is what came back.
type received struct {
	status int
	header http.Header
	body   string
}

func (a received) results(t *testing.T) []frame.Result {
	t.Helper()
	var r frame.Results
	if err := json.Unmarshal([]byte(a.body), &r); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return r.Results
}

// code is the error of an answer. Its description is there, too.
func (a received) code(t *testing.T) string {
	t.Helper()
	var e frame.Error
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || e.Description == "" {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return e.Code
}

// post posts body with the test's credential, unless the headers, whose keys and values
// alternate, have another.
func (h *house) post(c *http.Client, path, body string, headers ...string) received {
	h.t.Helper()
	return h.send(c, h.request(http.MethodPost, path, strings.NewReader(body), headers...))
}

func (h *house) request(method, path string, body io.Reader, headers ...string) *http.Request {
	r, err := http.NewRequest(method, "http://gateway"+path, body)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+testToken)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		if r.Header.Del(headers[i]); headers[i+1] != "" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	return r
}

func (h *house) send(c *http.Client, r *http.Request) received {
	h.t.Helper()
	resp, err := c.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return received{resp.StatusCode, resp.Header, string(b)}
}

// one is a message of phone-1 with this id.
func one(id string) string { return `{"message_id":"` + id + `","from":"phone-1","data":{"a":"b"}}` }

// batch is the body with these messages.
func batch(messages ...string) string { return `{"messages":[` + strings.Join(messages, ",") + `]}` }
