package ccs_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"balhost/host/internal/ccs"
	"balhost/host/internal/entry"
	"balhost/host/internal/ledger"
	"balhost/host/internal/outbox"
	"balhost/host/internal/xmpp"
	"balhost/sdk/message"
)

// TestProsody runs a session, with the real ledger and outbox, against an XMPP
// server that shares no code with it: Prosody, where a second login plays CCS.
// BALHOST_PROSODY=required, which .ci/run sets, makes its absence a failure.
func TestProsody(t *testing.T) { // P1, P2, P4, P6
	path, err := exec.LookPath("prosody")
	if err != nil {
		if os.Getenv("BALHOST_PROSODY") == "required" {
			t.Fatal("prosody is not installed, and BALHOST_PROSODY asks for it: apt-get install prosody")
		}
		t.Skip("prosody is not installed; apt-get install prosody for this test")
	}
	server := startProsody(t, path)
	player := server.login(t, "ccs", "peerpw", "peer")

	w := &whole{t: t, sender: "1234", log: &logs{}}
	w.led, err = ledger.Open(t.Context(), ledger.Options{Dir: t.TempDir(), DiskSoft: 1 << 20, DiskHard: 1 << 19, Inodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.led.Close() //nolint:errcheck // the test is over
	w.out = outbox.New(outbox.Options{Ledger: w.led})
	session := func(key string) *ccs.Session {
		return ccs.New(ccs.Options{
			Name: "main", Address: server.address, SenderID: w.sender, Key: key, TLS: server.trust, Inbox: w.led, Outbox: w.out,
			// The pings, and Prosody's answers, are what keeps it.
			PingInterval: 100 * time.Millisecond, PingTimeout: 20 * time.Second, AnswerTimeout: 20 * time.Second, Drain: 2 * time.Second,
		})
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	s := session("sekret")
	go func() { ended <- w.out.Run(ctx) }()
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		stop()
		for range 2 {
			if err := <-ended; err != nil {
				t.Errorf("a part ended with %v", err)
			}
		}
	}()

	// A downstream of what breaks who escapes or counts wrongly, and its ack.
	text := `😀 漢字 & < > ]]> " ' \ ` + "\x00"
	w.send(one("tokA", "d-1", map[string]string{"v": text}))
	from, got := player.downstream("d-1")
	if got.Data["v"] != text || got.To != "tokA" {
		t.Errorf("CCS got %+v, want %q", got, text)
	}
	player.say(from, `{"message_type":"ack","from":"tokA","message_id":"d-1","registration_id":"tokA2"}`)
	if o := w.outcome("d-1"); o.Status != message.Acked || o.NewToken != "tokA2" {
		t.Errorf("outcome %+v", o)
	}

	// A nack.
	w.send(one("gone", "d-2", nil))
	player.downstream("d-2")
	player.say(from, `{"message_type":"nack","from":"gone","message_id":"d-2","error":"DEVICE_UNREGISTERED","error_description":"x < y"}`)
	if o := w.outcome("d-2"); o.Status != message.Failed || o.Code != "DEVICE_UNREGISTERED" || o.Description != "x < y" {
		t.Errorf("outcome %+v", o)
	}

	// Upstreams, a long one among them, and one that comes again: acked each
	// time where it came from, stored once, byte for byte.
	long := strings.Repeat("é&<>😀x", 12_000) // 120 KB
	for i, data := range []string{`{"v":"\ud83d\ude00 \u0000 \ud800 & ]]>"}`, `{"v":"` + long + `"}`, `{"v":"` + long + `"}`, `{}`} {
		id := []string{"u-1", "u-2", "u-2", "u-3"}[i]
		player.say(from, `{"from":"tokA","category":"app","message_id":"`+id+`","data":`+data+`}`)
		player.ack(from, "tokA", id)
		stored := w.upstreams()
		if last := stored[len(stored)-1]; last.MessageID != id || string(last.Data) != data {
			t.Errorf("%s: stored %.100s, want %.100s", id, last.Data, data)
		}
	}
	if n := len(w.upstreams()); n != 3 {
		t.Errorf("P6: %d stored, want 3", n)
	}

	// A drain: what is new goes over a new connection, and an upstream on the old
	// one is acked there.
	w.send(one("tokA", "d-3", nil))
	player.downstream("d-3")
	player.say(from, `{"message_type":"control","control_type":"CONNECTION_DRAINING"}`)
	w.wait("a replacement", func() bool {
		c := s.Status().Connections
		return len(c) == 2 && c[0].State == ccs.Draining && c[1].State == ccs.Ready
	})
	w.send(one("tokA", "d-4", nil))
	second, _ := player.downstream("d-4")
	if second == from {
		t.Error("a new downstream on the draining connection")
	}
	player.say(from, `{"from":"tokA","message_id":"u-4","data":{}}`)
	player.ack(from, "tokA", "u-4")
	player.say(from, `{"message_type":"ack","from":"tokA","message_id":"d-3"}`)
	player.say(second, `{"message_type":"ack","from":"tokA","message_id":"d-4"}`)
	for _, id := range []string{"d-3", "d-4"} {
		if o := w.outcome(id); o.Status != message.Acked || o.Attempts != 1 {
			t.Errorf("outcome %+v", o)
		}
	}
	w.wait("the drained connection's end", func() bool { return len(s.Status().Connections) == 1 })

	// 2,000 more, in a window of 100.
	w.sendN("tokB", 1000, 2000)
	for i := range 2000 {
		at, m := player.downstream(fmt.Sprintf("d-%d", 1000+i))
		player.say(at, `{"message_type":"ack","from":"tokB","message_id":"`+m.MessageID+`"}`)
	}
	w.wait("all outcomes", func() bool { return w.led.Counts().Acked == 2003 })

	if st := s.Status(); st.LastError != nil || len(st.Connections) != 1 || st.StanzaErrors+st.UnknownStanzas+st.UnknownTypes+st.LateAnswers > 0 {
		t.Errorf("at the end %+v", st)
	}

	// A wrong password.
	wrong := session("wrong")
	refused, enough := context.WithCancel(context.Background())
	go func() { ended <- wrong.Run(refused) }()
	w.wait("a refusal", func() bool { return wrong.Status().LastError != nil })
	var auth *xmpp.AuthError
	if err := wrong.Status().LastError; !errors.As(err, &auth) || auth.Condition != "not-authorized" {
		t.Errorf("a wrong password gives %v", err)
	}
	enough()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// wait polls in real time.
func (w *whole) wait(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("no %s", what)
		}
	}
}

// outcome waits for that of one downstream.
func (w *whole) outcome(id string) (o message.Outcome) {
	w.t.Helper()
	w.wait("outcome of "+id, func() (ok bool) {
		for _, b := range w.bodies(entry.Outcome) {
			if b.Outcome.MessageID == id {
				o, ok = *b.Outcome, true
			}
		}
		return ok
	})
	return o
}

// patience ends a test that hangs, so that it says where.
const patience = time.Minute

// prosody is a running server.
type prosody struct {
	address string
	trust   *tls.Config
}

// startProsody runs Prosody on loopback below a folder of its own, as its own
// user when we are root, which it refuses to be; the test's end stops it.
func startProsody(t *testing.T, path string) *prosody {
	t.Helper()
	dir, err := os.MkdirTemp("", "balhost-prosody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.CopyFS(dir, os.DirFS("testdata/prosody")); err != nil {
		t.Fatal(err)
	}
	p := &prosody{trust: certificate(t, dir)}
	accounts := filepath.Join(dir, "data", "gcm%2egoogleapis%2ecom", "accounts")
	if err := os.MkdirAll(accounts, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, password := range map[string]string{"1234": "sekret", "ccs": "peerpw"} {
		write(t, filepath.Join(accounts, name+".dat"), fmt.Sprintf("return { [\"password\"] = %q; };\n", password))
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.address = free.Addr().String()
	free.Close()
	_, port, _ := net.SplitHostPort(p.address)

	cmd := exec.Command(path, "--config", filepath.Join(dir, "prosody.cfg.lua"), "-F")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "BALHOST_PROSODY_DIR="+dir, "BALHOST_PROSODY_PORT="+port)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: give(t, dir, "prosody")}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill() //nolint:errcheck // it may have ended
			<-ended
		}
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", p.address)
		if err == nil {
			c.Close()
			return p
		}
		select {
		case err := <-ended:
			ended <- err
			log, _ := os.ReadFile(filepath.Join(dir, "prosody.log"))
			t.Fatalf("prosody ended: %v\n%s", err, log)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("prosody does not answer: %v", err)
		}
	}
}

// give makes name the owner of all in dir, and returns who that is.
func give(t *testing.T, dir, name string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, uid, gid))
	})
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// certificate makes one for CCS's old name, and what trusts it.
func certificate(t *testing.T, dir string) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gcm.googleapis.com"}, DNSNames: []string{"gcm.googleapis.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	write(t, filepath.Join(dir, "ccs.crt"), text)
	write(t, filepath.Join(dir, "ccs.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(text))
	return &tls.Config{RootCAs: roots, ServerName: "gcm.googleapis.com"}
}

// player is a plain XMPP client that plays CCS.
type player struct {
	t  *testing.T
	nc net.Conn
	r  *xmpp.Reader
}

func (p *prosody) login(t *testing.T, name, password, resource string) *player {
	t.Helper()
	nc, err := tls.Dial("tcp", p.address, p.trust)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience)) //nolint:errcheck // a read says so too
	pl := &player{t, nc, xmpp.NewReader(nc, 1<<20)}
	if _, err := xmpp.Login(nc, pl.r, xmpp.Credentials{Domain: "gcm.googleapis.com", AuthCID: name, Password: password, Resource: resource}); err != nil {
		t.Fatal(err)
	}
	return pl
}

// say sends a payload to one connection of the session, as CCS does.
func (p *player) say(to, payload string) {
	p.t.Helper()
	stanza := strings.Replace(gcm(payload), "<message>", `<message to="`+to+`" type="normal">`, 1)
	if _, err := p.nc.Write([]byte(stanza)); err != nil {
		p.t.Fatal(err)
	}
}

// heard is a payload of the session, and the connection that wrote it.
type heard struct {
	To          string            `json:"to"`
	MessageID   string            `json:"message_id"`
	MessageType string            `json:"message_type"`
	Data        map[string]string `json:"data"`
}

func (p *player) hear() (from string, h heard) {
	p.t.Helper()
	p.nc.SetDeadline(time.Now().Add(patience)) //nolint:errcheck // the read says so too
	for {
		element, err := p.r.Next()
		if err != nil {
			p.t.Fatalf("CCS hears nothing more: %v", err)
		}
		st, err := p.r.Parse(element)
		if err != nil {
			p.t.Fatal(err)
		}
		if st.Kind != xmpp.Message || st.GCM == nil {
			continue
		}
		if err := json.Unmarshal(st.GCM, &h); err != nil {
			p.t.Fatalf("%s: %v", st.GCM, err)
		}
		return st.From, h
	}
}

// downstream hears the one of that id, next.
func (p *player) downstream(id string) (from string, h heard) {
	p.t.Helper()
	if from, h = p.hear(); h.MessageID != id || h.MessageType != "" {
		p.t.Fatalf("heard %+v, want downstream %s", h, id)
	}
	return from, h
}

// ack hears one on the right connection, next.
func (p *player) ack(from, to, id string) {
	p.t.Helper()
	at, h := p.hear()
	if at != from || h.MessageType != "ack" || h.To != to || h.MessageID != id {
		p.t.Fatalf("heard %+v from %s, want the ack of %s to %s from %s", h, at, id, to, from)
	}
}
