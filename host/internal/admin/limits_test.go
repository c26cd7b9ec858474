package admin

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// once is a listener that has one connection.
type once struct {
	conn   chan net.Conn
	closed chan struct{}
	close  func()
}

func (l once) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l once) Close() error   { l.close(); return nil }
func (l once) Addr() net.Addr { return &net.UnixAddr{Name: "once", Net: "unix"} }

// What takes long is not cut, be it a profile or a stream; a body that comes too
// slowly is, and the connection's next request has its own time.
func TestLongAnswersAreNotCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /long", func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(time.Hour):
				answer(w, done{Done: 1})
			case <-r.Context().Done():
				t.Errorf("a long request was ended: %v", r.Context().Err())
			}
		})
		mux.HandleFunc("POST /body", func(w http.ResponseWriter, r *http.Request) {
			var o order
			if read(w, r, &o) {
				select {
				case <-time.After(time.Hour):
					answer(w, done{Done: len(o.IDs)})
				case <-r.Context().Done():
					t.Errorf("a request was ended after its body: %v", r.Context().Err())
				}
			}
		})
		l := once{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
		l.close = sync.OnceFunc(func() { close(l.closed) })
		server := &http.Server{Handler: guard{&door{unix: true, tokens: noTokens}, mux}, ReadHeaderTimeout: 5 * time.Second}
		go server.Serve(l)
		defer server.Close()
		conn, theirs := net.Pipe()
		defer conn.Close()
		l.conn <- theirs
		from := bufio.NewReader(conn)
		for _, request := range []string{"GET /long HTTP/1.1\r\nHost: x\r\n\r\n", "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{\"ids\": [\"a\"]}", "GET /long HTTP/1.1\r\nHost: x\r\n\r\n"} {
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(from, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(answer.Body); err != nil || !strings.Contains(string(body), `"done": 1`) {
				t.Errorf("%.20q: %s, %v", request, body, err)
			}
		}
		fmt.Fprint(conn, "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{")
		began := time.Now()
		answer, err := http.ReadResponse(from, nil)
		if err != nil || answer.StatusCode != http.StatusBadRequest || time.Since(began) != requestLimit {
			t.Errorf("a body that doesn't come: %v, %v after %v", answer, err, time.Since(began))
		}
	})
}
