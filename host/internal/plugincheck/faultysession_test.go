package plugincheck

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"balhost/host/internal/pluginhost"
	"balhost/sdk/wire"
)

func strangerCertificate() ([]tls.Certificate, error) {
	config, err := pluginhost.StrangerTLS()
	if err != nil {
		return nil, err
	}
	return config.Certificates, nil
}

// faultySession is the plugin's session.
type faultySession struct {
	*faulty
	rpc wire.Plugin_SessionServer
	one sync.Mutex // held by the only handler of a plugin that does one after the other

	writing sync.Mutex // guards rpc's Send

	at      sync.Mutex // guards what follows
	running map[uint64]*faultyHandler
	replies map[uint64]chan *wire.Reply
	ended   map[uint64]bool
	call    uint64
	drains  bool
	idle    chan struct{} // closed when it drains and nothing runs
	leaked  [][]byte
	old     map[string]uint64 // versions of the first run, by event
}

// faultyHandler is one handler that runs.
type faultyHandler struct {
	ctx    context.Context
	cancel context.CancelFunc
}

func (s *faultySession) send(f *wire.PluginFrame) {
	s.writing.Lock()
	defer s.writing.Unlock()
	_ = s.rpc.Send(f) // the reader learns that the stream is over
}

// serve reads until the host drains or has gone.
func (s *faultySession) serve() error {
	s.idle, s.old = make(chan struct{}), map[string]uint64{}
	extending := time.NewTicker(300 * time.Millisecond)
	defer extending.Stop()
	go func() {
		for range extending.C {
			s.extend()
		}
	}()
	drained := make(chan error, 1)
	go func() { drained <- s.read(drained) }()
	return <-drained
}

// read reads on while it drains: calls work until the end.
func (s *faultySession) read(drained chan<- error) error {
	for {
		f, err := s.rpc.Recv()
		if err != nil && s.draining() {
			return err
		} else if err != nil {
			half := errors.Is(err, io.EOF)
			if half && s.has("lives on after a half-close") || !half && s.has("lives on after a break") {
				time.Sleep(time.Hour)
			}
			if s.has("results after the half-close") { // they don't count
				s.send(&wire.PluginFrame{Result: []*wire.Result{{Delivery: 1, Code: wire.Result_RETRY}}})
				time.Sleep(100 * time.Millisecond) // else it is not written
			}
			os.Exit(0)
		}
		s.dieOfUnknown(f)
		for _, d := range f.Deliver {
			s.dieOfUnknown(d)
			s.begin(d)
		}
		for _, number := range f.Revoke {
			s.cancelOf(number)
		}
		for _, r := range f.Reply {
			s.at.Lock()
			if waiting := s.replies[r.Id]; waiting != nil {
				waiting <- r
				delete(s.replies, r.Id)
			}
			s.at.Unlock()
		}
		if f.LogLevel != "" {
			s.mu.Lock()
			s.level = f.LogLevel
			s.mu.Unlock()
		}
		if f.Ping != 0 && !(s.has("no pong") && s.count.Load() > 400) {
			s.send(&wire.PluginFrame{Pong: f.Ping})
		}
		if f.Drain != nil {
			go func() { drained <- s.drain(f.Drain) }()
		}
	}
}

func (s *faultySession) draining() bool {
	s.at.Lock()
	defer s.at.Unlock()
	return s.drains
}

func (s *faultySession) extend() {
	s.at.Lock()
	defer s.at.Unlock()
	f := &wire.PluginFrame{}
	for number := range s.running {
		f.Extend = append(f.Extend, number)
	}
	if len(f.Extend) > 0 && !s.has("no extend") {
		s.send(f)
	}
}

func (s *faultySession) cancelOf(number uint64) {
	s.at.Lock()
	defer s.at.Unlock()
	if h := s.running[number]; h != nil && !s.has("ignores revoke") {
		h.cancel()
	}
}

// begin starts the handler of a delivery.
func (s *faultySession) begin(d *wire.Delivery) {
	if s.has("dies of an unknown event") && d.Event == nil {
		os.Exit(4)
	}
	if n := s.count.Add(1); n == 1000 && s.has("loses a delivery") {
		return
	}
	h := &faultyHandler{}
	h.ctx, h.cancel = context.WithTimeout(context.Background(), time.Duration(d.TimeoutMs)*time.Millisecond)
	if s.has("ignores revoke") {
		h.ctx = context.WithoutCancel(h.ctx)
	}
	s.at.Lock()
	s.running[d.Delivery] = h
	s.at.Unlock()
	go s.handle(h, d)
}

func (s *faultySession) handle(h *faultyHandler, d *wire.Delivery) {
	if s.has("one after the other") {
		s.one.Lock()
		defer s.one.Unlock()
	}
	defer h.cancel()
	r := s.result(h.ctx, d)
	r.Delivery = d.Delivery
	f := &wire.PluginFrame{Result: []*wire.Result{r}}
	if r.Changes == nil && r.Code == wire.Result_DONE {
		f = &wire.PluginFrame{Done: []uint64{d.Delivery}}
	}
	s.send(f)
	if s.has("ends twice") {
		s.send(f)
	}
	s.at.Lock()
	defer s.at.Unlock()
	delete(s.running, d.Delivery)
	if s.drains && len(s.running) == 0 {
		close(s.idle)
	}
}

// result calls the handler of an event.
func (s *faultySession) result(ctx context.Context, d *wire.Delivery) *wire.Result {
	s.log("debug", "an event")
	switch e := d.Event.(type) {
	case *wire.Delivery_Upstream:
		s.dieOfUnknown(e.Upstream)
		return s.upstream(ctx, e.Upstream)
	case *wire.Delivery_Outcome, *wire.Delivery_Receipt, *wire.Delivery_Timer:
		return &wire.Result{Code: wire.Result_DONE}
	}
	if s.has("unknown events are done") {
		return &wire.Result{Code: wire.Result_DONE}
	}
	return &wire.Result{Code: wire.Result_RETRY, Error: "an event of an unknown kind"}
}

// upstream counts a device's messages, and sends the data back.
func (s *faultySession) upstream(ctx context.Context, u *wire.Upstream) *wire.Result {
	data := u.Raw[u.DataStart:u.DataEnd]
	if s.has("leaks") {
		s.at.Lock()
		s.leaked = append(s.leaked, bytes.Repeat([]byte{1}, 256<<10))
		s.at.Unlock()
	}
	if len(data) > 4000 {
		return &wire.Result{Code: wire.Result_REJECT, Error: "too long"}
	}
	key := "seen/" + u.Device
	reply, err := s.get(ctx, key)
	switch drains := s.draining(); {
	case err != nil && drains && !s.has("a drain is a RETRY"):
		return &wire.Result{Code: wire.Result_RELEASE}
	case err != nil && !drains && s.has("a cancelled handler is done"):
		return &wire.Result{Code: wire.Result_DONE}
	case err != nil:
		return &wire.Result{Code: wire.Result_RETRY, Error: err.Error()}
	}
	version := reply.Version
	if s.has("keeps what it has read") {
		s.at.Lock()
		if old, has := s.old[u.Id]; has {
			version = old
		}
		s.old[u.Id] = version
		s.at.Unlock()
	}
	var n int
	_ = json.Unmarshal(reply.Value, &n) // a key that is not there is 0
	c := &wire.Changes{
		Read:  []*wire.Read{{Key: key, Version: version}},
		Write: []*wire.Write{{Key: key, Value: fmt.Appendf(nil, "%d", n+1)}},
		Send:  []*wire.Downstream{{MessageId: u.Id + "-1", To: &wire.Target{To: &wire.Target_Token{Token: u.Device}}, Data: s.echo(data)}},
	}
	r := &wire.Result{Code: wire.Result_DONE, Changes: c}
	switch p := s.faulty; p.fault {
	case "an error without a code":
		return &wire.Result{Error: "it failed"}
	case "an unknown code":
		r.Code = 77
	case "random ids":
		c.Send[0].MessageId = fmt.Sprint("m", rand.Uint64())
	case "ids of the process":
		c.Send[0].MessageId = fmt.Sprintf("%d-%s", os.Getpid(), u.Id)
	case "ids of the device's message":
		c.Send[0].MessageId = "m-" + u.MessageId
	case "reads with version 0":
		c.Read[0].Version = 0
	case "fails under load":
		if u.Device == "check-device-900" {
			return &wire.Result{Code: wire.Result_RETRY, Error: "no", Changes: &wire.Changes{Read: c.Read}}
		}
	case "half of a pair in data":
		if bytes.Contains(data, []byte(`"tag":"\ud800"`)) {
			c.Send[0].Data = data
		}
	case "no ids":
		c.Send[0].MessageId = ""
	case "reads are not listed":
		c.Read = nil
	case "a number in data":
		c.Send[0].Data = []byte(`{"n":1}`)
	case "half of a pair":
		if bytes.Contains(data, []byte(`\ud800`)) {
			c.Send[0].Group = "a\xed\xa0\x80b"
		}
	}
	return r
}

// echo is the data as Go reads it: halves of pairs become U+FFFD.
func (s *faultySession) echo(data []byte) []byte {
	var object map[string]string
	if err := json.Unmarshal(data, &object); err != nil {
		return nil
	}
	text, err := json.Marshal(object)
	if err != nil {
		return nil
	}
	return text
}

// get reads a key of the state.
func (s *faultySession) get(ctx context.Context, key string) (*wire.Reply, error) {
	delivery := uint64(0)
	s.at.Lock()
	for number, h := range s.running {
		if h.ctx == ctx {
			delivery = number
		}
	}
	s.call++
	id := s.call
	if s.has("calls have no id") {
		id = 0
	}
	if s.has("a call's id again") && len(s.replies) == 0 {
		id = 1
	}
	if s.has("reads without a delivery") {
		delivery = 0
	}
	reply := make(chan *wire.Reply, 1)
	s.replies[id] = reply
	s.at.Unlock()
	f := &wire.PluginFrame{Call: []*wire.Call{{Id: id, Delivery: delivery, Op: &wire.Call_Get{Get: key}}}}
	if s.has("too many calls") {
		for range wire.MaxCalls {
			f.Call = append(f.Call, proto.CloneOf(f.Call[0]))
		}
	}
	s.send(f)
	if s.has("calls have no id") {
		return &wire.Reply{}, nil
	}
	select {
	case r := <-reply:
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// drain ends in order.
func (s *faultySession) drain(d *wire.Drain) error {
	limit := time.Duration(d.TimeoutMs) * time.Millisecond
	if s.has("drains for ever") {
		limit = time.Hour
		s.mu.Lock()
		s.over = true
		s.mu.Unlock()
	}
	soft := time.AfterFunc(limit*4/5, func() {
		s.at.Lock()
		defer s.at.Unlock()
		for _, h := range s.running {
			h.cancel()
		}
	})
	defer soft.Stop()
	s.at.Lock()
	s.drains = true
	idle := len(s.running) == 0
	s.at.Unlock()
	if !idle && !s.has("drains in haste") {
		select {
		case <-s.idle:
		case <-time.After(limit):
		}
	}
	switch {
	case s.has("no drained"):
		return nil
	case s.has("drains with an error"):
		s.send(&wire.PluginFrame{Drained: true})
		return errors.New("no")
	case s.has("never drains"):
		s.mu.Lock()
		s.over = true
		s.mu.Unlock()
		time.Sleep(time.Hour)
	}
	s.send(&wire.PluginFrame{Drained: true})
	return nil
}
