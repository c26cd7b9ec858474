package fcmv1

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/sdk/message"
)

const project = "482915730064"

// heard is one answer that the outbox heard.
type heard struct {
	seq uint64
	flow.Answer
	at time.Time
}

// box is an outbox. A downstream that is to be sent again at once is there again; what
// is to be sent later is there again at once too if eager is set.
type box struct {
	eager bool

	mu      sync.Mutex // guards what follows
	queue   []entry.Outgoing
	changed chan struct{}
	heard   []heard
	takes   []int // conn numbers
}

func newBox(all ...entry.Outgoing) *box { return &box{queue: all, changed: make(chan struct{})} }

func (b *box) Changed(string) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

func (b *box) Take(sender string, conn, n int) (taken []entry.Outgoing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if sender != project {
		return nil
	}
	b.takes = append(b.takes, conn)
	n = min(n, len(b.queue))
	taken, b.queue = slices.Clone(b.queue[:n]), b.queue[n:]
	return taken
}

func (b *box) Answered(_ string, seq uint64, a flow.Answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard = append(b.heard, heard{seq, a, time.Now()})
	if a.Verdict == flow.Resend || b.eager && (a.Verdict == flow.Retry || a.Verdict == flow.Rest || a.Verdict == flow.SlowDown) {
		b.queue = append(b.queue, downstream(seq))
		b.wake()
	}
}

func (b *box) put(all ...entry.Outgoing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = append(b.queue, all...)
	b.wake()
}

// wake tells who waits; mu is held.
func (b *box) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *box) answers() []heard {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.heard)
}

// verdicts counts the answers by verdict.
func (b *box) verdicts() map[flow.Verdict]int {
	n := map[flow.Verdict]int{}
	for _, a := range b.answers() {
		n[a.Verdict]++
	}
	return n
}

// downstream is a message to a token of its own.
func downstream(seq uint64) entry.Outgoing {
	return entry.Outgoing{Seq: seq, Message: message.Checked{
		To: message.Token(fmt.Sprint("t:", seq)), MessageID: fmt.Sprint("d-", seq), Data: json.RawMessage(`{"a":"b"}`),
	}}
}

func downstreams(n int) (all []entry.Outgoing) {
	for i := range n {
		all = append(all, downstream(uint64(i+1)))
	}
	return all
}

// wire is an FCM that answers by a function; it is called at the same time for several.
type wire func(r *http.Request, body string) (status int, answer string)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	status, answer := w(r, string(body))
	return reply2(r, status, answer), nil
}

func reply2(r *http.Request, status int, answer string) *http.Response {
	return &http.Response{StatusCode: status, ProtoMajor: 2, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer)), Request: r}
}

// trip is a RoundTripper from a function.
type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

const accepted = `{"name":"projects/p/messages/1"}`

// tokens is a fetcher of tokens "1", "2" and so on that live for an hour; it counts.
func tokens(n *atomic.Int64) fetcher {
	return func(context.Context) (access, error) {
		now := time.Now()
		return access{token: fmt.Sprint(n.Add(1)), fetched: now, expires: now.Add(time.Hour)}, nil
	}
}

// newSession is a session whose tokens come from fetch, if that is set.
func newSession(o Options, fetch fetcher) *Session {
	o.SenderID = project
	if o.Name == "" {
		o.Name = "main"
	}
	s := New(o)
	if fetch != nil {
		s.bearer = newBearer(fetch, s.tokenNews)
	}
	return s
}

// start runs a session until the function that it returns is called, or the test ends.
func start(t *testing.T, s *Session) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the session failed: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// until waits for a condition, generously.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// serve is a server with TLS, HTTP/2 and HTTP/1.1.
func serve(t *testing.T, h http.HandlerFunc, change func(*httptest.Server)) (*httptest.Server, *tls.Config) {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = nil
	if change != nil {
		change(server)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return server, &tls.Config{RootCAs: roots}
}

var private = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// keyFile is the text of a key file; id tells keys apart.
func keyFile(t *testing.T, tokenURI, id string) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private())
	if err != nil {
		t.Fatal(err)
	}
	file, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "courier", "private_key_id": id, "client_email": "sender@courier.iam.gserviceaccount.com",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": tokenURI,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(file)
}
