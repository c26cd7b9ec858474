package devicesim

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"balhost/host/internal/frame"
)

// Remembered is how many ids of downstreams a device knows. Spec: fcm-v1-and-gateway.md D.
const Remembered = 200

// maxReceipts is how many receipts wait at most; the oldest are dropped.
const maxReceipts = 100

// Device is one virtual device. Any goroutine may call its methods.
type Device struct {
	opts    Options
	http    *http.Client
	oneWay  chan struct{} // holds one value while Connect or Upload runs
	deliver sync.Mutex    // the app's callbacks run one after the other

	mu       sync.Mutex // guards all below
	queue    []waiting  // oldest first
	receipts []frame.Frame
	seen     []string // the last Remembered ids, oldest first
	changed  chan struct{}
	shown    *Credential // the last one; nil: ask
	rnd      *rand.Rand
	counts   Counts
}

// waiting is an upstream in the queue.
type waiting struct {
	frame.Message
	expires time.Time
}

// Counts are what a device has done.
type Counts struct {
	Enqueued    int `json:"enqueued"`
	Sent        int `json:"sent"`       // acked
	Duplicates  int `json:"duplicates"` // of these, known to the gateway before
	Failed      int `json:"failed"`     // refused or expired
	Received    int `json:"received"`   // downstreams, each id once
	Repeats     int `json:"repeats"`    // downstreams that had come before
	Receipts    int `json:"receipts"`   // stored by the gateway
	Requests    int `json:"requests"`
	Connections int `json:"connections"` // sockets that were welcomed
	Cuts        int `json:"cuts"`        // connections that Faults.Cut has ended
}

// New makes a device. It does nothing before Connect, Upload or Flush.
func New(o Options) (*Device, error) {
	o, err := o.checked()
	if err != nil {
		return nil, fmt.Errorf("devicesim: %w", err)
	}
	d := &Device{
		opts: o, oneWay: make(chan struct{}, 1), changed: make(chan struct{}), rnd: rand.New(rand.NewPCG(o.Seed, 0)),
	}
	transport := o.Transport
	if transport == nil {
		transport = &http.Transport{
			DialContext: d.dial, TLSClientConfig: o.TLS, ForceAttemptHTTP2: true, MaxConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
		}
	}
	d.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return d, nil
}

// Send puts an upstream into the queue and returns its id, which is made here if there is
// none. The error is a [SendError].
func (d *Device) Send(m frame.Message) (id string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.MessageID == "" {
		m.MessageID = fmt.Sprintf("%016x%016x", d.rnd.Uint64(), d.rnd.Uint64())
	}
	ttl := d.opts.TTL
	if m.TimeToLive != nil {
		ttl = time.Duration(*m.TimeToLive) * time.Second
	}
	m.Category = or(m.Category, d.opts.Category)
	m.From = or(m.From, d.opts.From)
	text, err := json.Marshal(m)
	switch {
	case err != nil || ttl < 0:
		return m.MessageID, &SendError{InvalidParameters, "data is not JSON, or time_to_live is negative"}
	case len(text) > maxMessage:
		return m.MessageID, &SendError{TooBig, fmt.Sprintf("%d bytes; a message has at most %d", len(text), maxMessage)}
	case len(d.queue) >= d.opts.Queue:
		return m.MessageID, &SendError{TooManyMessages, fmt.Sprintf("%d wait for their acks", len(d.queue))}
	}
	d.queue = append(d.queue, waiting{m, time.Now().Add(ttl)})
	d.counts.Enqueued++
	d.hint()
	return m.MessageID, nil
}

// maxMessage leaves room for the words around a message in a frame.
const maxMessage = frame.MaxFrame - 256

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// Receipt puts a receipt into the queue: what became of a downstream that the device got,
// such as MESSAGE_SENT_TO_DEVICE, DISPLAYED or OPENED.
func (d *Device) Receipt(original, status string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.receipts) >= maxReceipts {
		d.receipts = slices.Delete(d.receipts, 0, 1)
	}
	d.receipts = append(d.receipts, frame.Frame{Type: frame.TypeReceipt, Original: original, Status: status, Timestamp: time.Now().UnixMilli()})
	d.hint()
}

// Push gives the device a downstream that came by FCM. It reports whether it was new.
func (d *Device) Push(p Push) bool {
	fresh := d.take(p)
	if p.Receipt {
		d.Receipt(p.ID, "MESSAGE_SENT_TO_DEVICE") // again, if it came again: the first one may be lost
	}
	return fresh
}

// take gives a downstream to the app, unless the app has it.
func (d *Device) take(p Push) (fresh bool) {
	d.deliver.Lock()
	defer d.deliver.Unlock()
	d.mu.Lock()
	if fresh = p.ID == "" || !slices.Contains(d.seen, p.ID); fresh {
		d.counts.Received++
	} else {
		d.counts.Repeats++
	}
	d.mu.Unlock()
	if !fresh {
		return false
	}
	if d.opts.OnMessage != nil {
		d.opts.OnMessage(p)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen = append(d.seen, p.ID); len(d.seen) > Remembered {
		d.seen = slices.Delete(d.seen, 0, len(d.seen)-Remembered)
	}
	return true
}

// Counts is what the device has done so far.
func (d *Device) Counts() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts
}

// Waiting are the ids in the queue, oldest first.
func (d *Device) Waiting() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	ids := make([]string, len(d.queue))
	for i, m := range d.queue {
		ids[i] = m.MessageID
	}
	return ids
}

// Idle waits until nothing is in the queue, no upstream and no receipt.
func (d *Device) Idle(ctx context.Context) error {
	for {
		changed := d.hinted()
		d.mu.Lock()
		empty := len(d.queue) == 0 && len(d.receipts) == 0
		d.mu.Unlock()
		if empty {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Forget makes the device ask for a new credential before it connects the next time.
func (d *Device) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shown = nil
}

// hint wakes whoever waits for a change. d.mu must be held.
func (d *Device) hint() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// hinted is closed at the next change.
func (d *Device) hinted() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// next are the upstreams and receipts that wait. What has expired is reported and left out.
func (d *Device) next() (queue []waiting, receipts []frame.Frame) {
	d.mu.Lock()
	now := time.Now()
	var late []string
	d.queue = slices.DeleteFunc(d.queue, func(m waiting) bool {
		if now.Before(m.expires) {
			return false
		}
		late = append(late, m.MessageID)
		return true
	})
	d.counts.Failed += len(late)
	if late != nil {
		d.hint()
	}
	queue, receipts = slices.Clone(d.queue), slices.Clone(d.receipts)
	d.mu.Unlock()
	for _, id := range late {
		d.report(id, TTLExceeded, "it could not be sent in time")
	}
	return queue, receipts
}

// message is an upstream as it is sent now: with the time that it has left.
func (m waiting) message(now time.Time) frame.Message {
	seconds := int64((m.expires.Sub(now) + time.Second - 1) / time.Second)
	m.TimeToLive = &seconds
	return m.Message
}

// sent ends an upstream whose ack came.
func (d *Device) sent(id string, duplicate bool) {
	if !d.drop(id, func(c *Counts) {
		c.Sent++
		if duplicate {
			c.Duplicates++
		}
	}) {
		return
	}
	if d.opts.OnMessageSent != nil {
		d.deliver.Lock()
		defer d.deliver.Unlock()
		d.opts.OnMessageSent(id)
	}
}

// failed ends an upstream that the gateway refuses for good.
func (d *Device) failed(id string, code Code, why string) {
	if d.drop(id, func(c *Counts) { c.Failed++ }) {
		d.report(id, code, why)
	}
}

func (d *Device) report(id string, code Code, why string) {
	if d.opts.OnSendError != nil {
		d.deliver.Lock()
		defer d.deliver.Unlock()
		d.opts.OnSendError(id, code, why)
	}
}

// drop takes an upstream out of the queue. An answer may come twice: the second is ignored.
func (d *Device) drop(id string, count func(*Counts)) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.queue, func(m waiting) bool { return m.MessageID == id })
	if i < 0 {
		return false
	}
	d.queue = slices.Delete(d.queue, i, i+1)
	count(&d.counts)
	d.hint()
	return true
}

// told ends a receipt that was answered.
func (d *Device) told(original, status string, stored bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.receipts, func(f frame.Frame) bool { return f.Original == original && f.Status == status })
	if i < 0 {
		return
	}
	d.receipts = slices.Delete(d.receipts, i, i+1)
	if stored {
		d.counts.Receipts++
	}
	d.hint()
}

// credential is what the device shows now.
func (d *Device) credential(ctx context.Context) (Credential, error) {
	d.mu.Lock()
	shown := d.shown
	d.mu.Unlock()
	if shown != nil && (shown.Until.IsZero() || time.Now().Before(shown.Until)) {
		return *shown, nil
	}
	c, err := d.opts.Credential(ctx)
	if err != nil {
		return c, fmt.Errorf("get a credential: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shown = &c
	return c, nil
}

// show puts a credential onto a request.
func (c Credential) show(r *http.Request, body []byte) {
	if c.AppCheck != "" {
		r.Header.Set("X-Firebase-AppCheck", c.AppCheck)
	}
	if c.Sign != nil {
		c.Sign(r, body)
	} else if c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
}

// chance is true with this probability.
func (d *Device) chance(p float64) bool {
	if p <= 0 {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rnd.Float64() < p
}

// count changes the counts.
func (d *Device) count(f func(*Counts)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.counts)
}

// tell tells OnEvent.
func (d *Device) tell(event, about string) {
	if d.opts.OnEvent != nil {
		d.opts.OnEvent(event, about)
	}
}

// dial opens a connection, which Faults.Cut may end.
func (d *Device) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dial := d.opts.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	nc, err := dial(ctx, network, address)
	if err != nil || d.opts.Faults.Cut == (Range[int]{}) {
		return nc, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &cut{Conn: nc, count: func() { d.count(func(c *Counts) { c.Cuts++ }) }}
	c.left.Store(int64(d.opts.Faults.Cut.pick(d.rnd)))
	return c, nil
}
