package ccssim

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Devices is a load: virtual devices that send upstreams, one device after the other. Their
// tokens are device-1 to device-Count. Each device counts its messages from 1 on,
// without gaps, and puts the number into the data as "n":"17". So a plugin can check
// the order. The next load goes on counting.
type Devices struct {
	Sender   string            `json:"sender,omitempty"` // "" means the first sender
	Count    int               `json:"count"`            // devices; 0 sends nothing
	Rate     float64           `json:"rate"`             // messages per second, all devices together; 0 means as fast as the window allows
	Limit    int               `json:"limit"`            // messages, all devices together; 0 means no limit
	Category string            `json:"category"`
	Size     int               `json:"size"`           // least bytes of the JSON payload; data's "pad" fills it up
	Data     map[string]string `json:"data,omitempty"` // further fields of data
}

func (d Devices) check() error {
	if d.Count < 0 || !(d.Rate >= 0) || d.Limit < 0 || d.Size < 0 || d.Size > 1e6 || d.Count > 1e6 {
		return errors.New("devices: count must be 0 to a million, size must be 0 to a million bytes, and rate and limit can't be negative")
	}
	return nil
}

// tick is the shortest wait of a load. All messages that are due after it go out
// together.
const tick = time.Millisecond

// load is the state of an account's Devices. It makes a message only when a
// connection has room for it, so a slow client costs no memory.
type load struct {
	set     Devices
	shape   *shape
	devices []*device
	start   time.Time
	created int // since start
}

// StartDevices starts a load and stops the sender's last one. The report's ack
// latency begins anew.
func (s *Server) StartDevices(d Devices) error {
	if err := d.check(); err != nil {
		return err
	}
	sh, err := newShape(d)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.account(d.Sender)
	if err != nil {
		return err
	}
	a.load = load{set: d, shape: sh, start: time.Now()}
	for i := range d.Count {
		a.load.devices = append(a.load.devices, s.device("device-"+strconv.Itoa(i+1)))
	}
	s.ackLatency.Reset()
	a.wake()
	return nil
}

// StopDevices ends all loads. Their messages stay until they are acked.
func (s *Server) StopDevices() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.accounts {
		a.load = load{}
	}
}

// due is how many messages may be made now. It is never negative, although another
// connection may have made messages at a later now.
func (l *load) due(now time.Time) int {
	if len(l.devices) == 0 {
		return 0
	}
	total := math.MaxInt
	if l.set.Limit > 0 {
		total = l.set.Limit
	}
	if l.set.Rate > 0 {
		total = int(min(float64(total), now.Sub(l.start).Seconds()*l.set.Rate))
	}
	return max(0, total-l.created)
}

// nextDue is when due may become positive. It is zero if time alone can't do that.
func (l *load) nextDue(now time.Time) time.Time {
	if len(l.devices) == 0 || l.set.Rate == 0 || l.set.Limit > 0 && l.created >= l.set.Limit {
		return time.Time{}
	}
	at := l.start.Add(time.Duration(float64(l.created+1) / l.set.Rate * float64(time.Second)))
	if soonest := now.Add(tick); at.Before(soonest) {
		return soonest
	}
	return at
}

func (l *load) create(run string) *item {
	d := l.devices[l.created%len(l.devices)]
	l.created++
	d.sent++
	return &item{dev: d, from: d.token, id: loadID(run, d.sent), n: d.sent, shape: l.shape}
}

// shape is the constant part of a load's payloads. It is encoded once.
type shape struct {
	extra string // ,"key":"value" for each further field of data
	end   string // ,"category":"…"} and so on
	size  int
	pad   string
}

const (
	shapeN    = `{"data":{"n":"`
	shapePad  = `,"pad":"`
	shapeFrom = `},"from":"`
	shapeID   = `","message_id":"`
)

func newShape(d Devices) (*shape, error) {
	sh := &shape{end: `"}`, size: d.Size, pad: strings.Repeat("x", d.Size)}
	if d.Category != "" {
		sh.end = `","category":` + string(encode(d.Category)) + `}`
	}
	if d.Data["n"] != "" || d.Data["pad"] != "" {
		return nil, errors.New(`devices: data can't have "n" or "pad": the load sets them`)
	}
	if len(d.Data) > 0 {
		fields := encode(d.Data)
		sh.extra = "," + string(fields[1:len(fields)-1])
	}
	// encode writes no < > & into the JSON, so the payload needs no escaping in XML.
	if _, err := xmlText([]byte(sh.extra + sh.end)); err != nil {
		return nil, fmt.Errorf("devices: category and data: %w", err)
	}
	return sh, nil
}

func (sh *shape) appendPayload(dst []byte, it *item) []byte {
	begin := len(dst)
	dst = append(dst, shapeN...)
	dst = strconv.AppendUint(dst, it.n, 10)
	dst = append(dst, '"')
	dst = append(dst, sh.extra...)
	rest := len(shapeFrom) + len(it.from) + len(shapeID) + len(it.id) + len(sh.end)
	if room := sh.size - (len(dst) - begin) - rest - len(shapePad) - 1; room >= 0 {
		dst = append(dst, shapePad...)
		dst = append(dst, sh.pad[:room]...)
		dst = append(dst, '"')
	}
	dst = append(dst, shapeFrom...)
	dst = append(dst, it.from...)
	dst = append(dst, shapeID...)
	dst = append(dst, it.id...)
	return append(dst, sh.end...)
}
