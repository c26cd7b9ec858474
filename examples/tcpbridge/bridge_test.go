package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"balhost/sdk"
	"balhost/sdk/plugintest"
)

const (
	app      = "com.example.bal"
	patience = 30 * time.Second
)

// stage is a host with the bridge, which listens on a port of its own.
type stage struct {
	*plugintest.Host
	t *testing.T

	mu      sync.Mutex
	address chan string
}

func newStage(t *testing.T, config map[string]any) *stage {
	s := &stage{t: t, address: make(chan string, 1)}
	c := map[string]any{"listen": "127.0.0.1:0", "session": "main"}
	for k, v := range config {
		c[k] = v
	}
	s.Host = plugintest.New(t, s.plugin(), plugintest.Options{Config: c, Sessions: []string{"main", "phones"}})
	return s
}

// plugin is a bridge that tells its address.
func (s *stage) plugin() sdk.Plugin {
	b := newBridge()
	b.listen = func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		if err == nil {
			s.address <- l.Addr().String()
		}
		return l, err
	}
	return b.plugin()
}

// where is the address of the bridge that runs now.
func (s *stage) where() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := <-s.address
	s.address <- a
	return a
}

// reload replaces the bridge, as a new version or a new process would.
func (s *stage) reload() {
	<-s.address
	s.Reload(s.plugin())
}

// say has a device send n.
func (s *stage) say(device string, n int) {
	s.t.Helper()
	r := s.Upstream(sdk.Upstream{From: device, Category: app, Data: plugintest.JSON(map[string]string{"n": fmt.Sprint(n)})})
	if r.Err() != nil {
		s.t.Fatal(r.Err())
	}
}

// bal is a business layer's connection.
type bal struct {
	t  *testing.T
	nc net.Conn
	in *bufio.Reader
}

func (s *stage) dial() *bal {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.where())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	return &bal{s.t, nc, bufio.NewReader(nc)}
}

// logon is a BAL that has logged on.
func (s *stage) logon(session string) *bal {
	s.t.Helper()
	b := s.dial()
	b.write(fmt.Sprintf(`{"message_type":"LOGON","session_id":%q}`, session))
	b.want(`{"message_type":"LOGON_RESPONSE","session_id":"` + session + `","status":"SUCCESS"}`)
	return b
}

// write may run on another goroutine than the test's.
func (b *bal) write(lines ...string) {
	b.t.Helper()
	if _, err := b.nc.Write([]byte(strings.Join(lines, "\n") + "\n")); err != nil {
		b.t.Error(err)
	}
}

// read is the next line that is no heartbeat; io.EOF and others are "".
func (b *bal) read() (text string, l line) {
	b.t.Helper()
	_ = b.nc.SetReadDeadline(time.Now().Add(patience))
	for text == "" {
		var err error
		if text, err = b.in.ReadString('\n'); err != nil {
			if wait, ok := err.(net.Error); ok && wait.Timeout() {
				b.t.Fatal("the bridge writes nothing")
			}
			return "", l
		}
		text = strings.TrimSpace(text)
	}
	if err := json.Unmarshal([]byte(text), &l); err != nil || !utf8.ValidString(text) {
		b.t.Fatalf("%q: %v", text, err)
	}
	return text, l
}

func (b *bal) want(line string) {
	b.t.Helper()
	if text, _ := b.read(); text != line {
		b.t.Fatalf("the bridge wrote\n%s, want\n%s", text, line)
	}
}

// numbers reads n UPSTREAMs: what devices said, and under which sequence_id.
func (b *bal) numbers(n int) (said []string, sequences []int64) {
	b.t.Helper()
	for range n {
		text, l := b.read()
		var d struct {
			Data struct{ N string }
		}
		if l.Type != typeUpstream || json.Unmarshal(l.FCMData, &d) != nil {
			b.t.Fatalf("the bridge wrote %q, want an UPSTREAM", text)
		}
		said, sequences = append(said, d.Data.N), append(sequences, l.SequenceID)
	}
	return said, sequences
}

func (b *bal) ack(sequences ...int64) {
	b.t.Helper()
	for _, n := range sequences {
		b.write(fmt.Sprintf(`{"message_type":"ACK","sequence_id":%d}`, n))
	}
}

// refused reads the ACK and the DOWNSTREAM_REJECT of one downstream, whichever comes first.
func (b *bal) refused() (why string) {
	b.t.Helper()
	seen := map[string]bool{}
	for range 2 {
		_, l := b.read()
		seen[l.Type] = true
		why += l.ErrorDescription
	}
	if !seen[typeAck] || !seen[typeDownstreamReject] {
		b.t.Errorf("the bridge wrote %v", seen)
	}
	return why
}

// ended waits until the bridge has closed the connection, and gives its last words.
func (b *bal) ended() (words string) {
	b.t.Helper()
	for {
		text, l := b.read()
		if text == "" {
			return words
		}
		words = l.ErrorDescription
	}
}

// keys waits until the state has just these keys.
func (s *stage) keys(want ...string) {
	s.t.Helper()
	got := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if got = fmt.Sprint(s.Keys()); got == fmt.Sprint(want) {
			return
		}
	}
	s.t.Errorf("the state has %s, want %s", got, want)
}
