package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/frame"
	"balhost/host/internal/simnet"

	"github.com/hashicorp/go-hclog"
)

// BenchmarkIdleSockets reports how many bytes of this process a device takes that is
// connected by TLS and says nothing: heap and stacks after a collection, and resident
// memory, which has what the collector keeps in reserve too. SOCKETS is how many there
// are; the devices are in a process of their own, as both ends of 10,000 need too many files.
func BenchmarkIdleSockets(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("SOCKETS"))
	if err != nil {
		n = 1000
	}
	ca, err := simnet.OpenAuthority("")
	if err != nil {
		b.Fatal(err)
	}
	leaf, err := ca.Leaf()
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	books := newBooks()
	s := &sockets{o: &Options{SenderID: "1", Inbox: books, Outbox: books, Log: hclog.NewNullLogger()}, desk: &desktop{}, tally: &tally{}}
	server := &http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{leaf}}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.accept(context.Background(), w, r, shown{})
	})}
	go server.ServeTLS(l, "", "")
	defer server.Close()
	defer s.registry.drain(time.Second)
	for b.Loop() {
		usedBefore, residentBefore := inUse()
		devices := exec.Command(os.Args[0], "-test.run=^TestIdleDevices$")
		devices.Env = append(os.Environ(), "IDLE="+l.Addr().String(), "SOCKETS="+strconv.Itoa(n))
		in, _ := devices.StdinPipe()
		out, _ := devices.StdoutPipe()
		if err := devices.Start(); err != nil {
			b.Fatal(err)
		}
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil || s.registry.count() != n {
			b.Fatalf("%d of %d are connected: %v", s.registry.count(), n, err)
		}
		used, resident := inUse()
		b.ReportMetric(float64(used-usedBefore)/float64(n), "B/socket")
		b.ReportMetric(float64(resident-residentBefore)/float64(n), "resident-B/socket")
		in.Close()
		devices.Wait()
	}
}

// inUse is how many bytes are in use, and how many are resident.
func inUse() (used, resident int) {
	runtime.GC()
	runtime.GC() // stacks shrink, pools empty
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b, _ := os.ReadFile("/proc/self/statm")
	pages := 0
	if f := strings.Fields(string(b)); len(f) > 1 {
		pages, _ = strconv.Atoi(f[1])
	}
	return int(m.HeapAlloc + m.StackInuse + m.MSpanInuse), pages * os.Getpagesize()
}

// TestIdleDevices is the other process of BenchmarkIdleSockets, and does nothing without it.
func TestIdleDevices(t *testing.T) {
	address := os.Getenv("IDLE")
	if address == "" {
		t.Skip("BenchmarkIdleSockets starts it")
	}
	n, _ := strconv.Atoi(os.Getenv("SOCKETS"))
	for i := range n {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: %s\r\n\r\n", frame.Subprotocol)
		r := bufio.NewReaderSize(conn, 16)
		for line := ""; line != "\r\n"; {
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		io.WriteString(conn, maskedText(fmt.Sprintf(`{"type":"hello","token":"any","from":"phone-%d"}`, i)))
		if _, err := r.ReadByte(); err != nil { // of the welcome
			t.Fatal(err)
		}
		defer conn.Close()
	}
	fmt.Println()
	io.Copy(io.Discard, os.Stdin)
}
