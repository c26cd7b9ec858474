package plugincheck

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"balhost/sdk/message"
	"balhost/sdk/wire"
)

// kind is one kind of event.
type kind struct {
	name string
	has  bool // the plugin has a handler for it
	make func(c *check, l *life, n int) *wire.Delivery
}

// kinds4 are all kinds, with what a manifest says of each.
func kinds4(m *wire.Manifest) []kind {
	return []kind{
		{"upstream", m.GetUpstream(), (*check).upstreamEvent},
		{"outcome", m.GetOutcome(), (*check).outcomeEvent},
		{"receipt", m.GetReceipt(), (*check).receiptEvent},
		{"timer", m.GetTimer(), (*check).timerEvent},
	}
}

// samples are events that the plugin did something with that rows can use.
type samples struct {
	sends *wire.Delivery // its handler sends downstreams
	reads *wire.Delivery // its handler reads the state
	any   *wire.Delivery // there is a handler for it
	loose bool           // gets and lists of handlers don't name their delivery
	done  map[int]bool   // samples of data that were DONE, by their place
}

// note keeps an event for what its handler did.
func (s *samples) note(d *delivery) {
	if s.any == nil {
		s.any = d.event
	}
	if d.result.GetCode() != wire.Result_DONE {
		return
	}
	if s.sends == nil && len(d.result.GetChanges().GetSend()) > 0 {
		s.sends = d.event
	}
	if s.reads == nil && d.asked > 0 {
		s.reads = d.event
	}
}

// laned is a sample of data with the n-th value at the key by which the plugin orders its
// events, if it does: the host gives out events of one lane one after the other.
func (c *check) laned(m *wire.Manifest, data json.RawMessage, n int) json.RawMessage {
	path, isKey := strings.CutPrefix(cmp.Or(c.o.Plugin.Order, m.GetOrder()), "key:data.")
	if !isKey {
		return data
	}
	return vary(data, strings.Split(path, "."), fmt.Sprint("check-", n))
}

// payload is what a transport brings of a device.
func (c *check) payload(m *wire.Manifest, device, id string, data json.RawMessage) []byte {
	head, err := json.Marshal(map[string]string{"from": device, "category": c.category(m), "message_id": id})
	if err != nil {
		panic(err) // of strings
	}
	return append(append(append(head[:len(head)-1], `,"data":`...), data...), '}')
}

// vary sets the value at a path of an object. What is no object stays as it is.
func vary(data json.RawMessage, path []string, value string) json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) != nil || object == nil {
		return data
	}
	if len(path) == 1 {
		object[path[0]] = json.RawMessage(`"` + value + `"`)
	} else {
		inner := object[path[0]]
		if inner == nil {
			inner = json.RawMessage(`{}`)
		}
		object[path[0]] = vary(inner, path[1:], value)
	}
	text, err := json.Marshal(object)
	if err != nil {
		return data
	}
	return text
}

func (c *check) category(m *wire.Manifest) string {
	all := append(append([]string{c.o.Category}, c.o.Plugin.Categories...), m.GetCategories()...)
	for _, name := range all {
		if name != "" && name != "*" {
			return name
		}
	}
	return "com.example.check"
}

// upstreamEvent is a sample in a lane of its own.
func (c *check) upstreamEvent(l *life, n int) *wire.Delivery {
	return c.upstreamOf(l, n, c.laned(l.manifest, c.o.Data[n%len(c.o.Data)], n))
}

// upstreamOf is an upstream with this data, from the n-th device.
func (c *check) upstreamOf(l *life, n int, data json.RawMessage) *wire.Delivery {
	return c.upstream(l, fmt.Sprint("check-device-", n), fmt.Sprint("check-", n), data)
}

// upstream is one with this data, from a device that gave it this message_id.
func (c *check) upstream(l *life, device, id string, data json.RawMessage) *wire.Delivery {
	raw := c.payload(l.manifest, device, id, data)
	at := bytes.Index(raw, []byte(`,"data":`)) + len(`,"data":`)
	u := wire.UpstreamToProto(&message.Upstream{
		ID: ulid.Make().String(), Session: c.o.Sessions[0].Name, From: device, Category: c.category(l.manifest), MessageID: id,
		Raw: raw, Data: raw[at : len(raw)-1], Received: time.Now(),
	})
	if !slices.Contains(l.manifest.GetCapabilities(), wire.Offsets) {
		u.SpellOut()
	}
	return c.event(&wire.Delivery{Event: &wire.Delivery_Upstream{Upstream: u}})
}

// event fills in a first attempt.
func (c *check) event(d *wire.Delivery) *wire.Delivery {
	d.Attempt, d.TimeoutMs = 1, uint32(c.o.Plugin.HandlerTimeout.Milliseconds())
	return d
}

// outcomeEvent is of the last downstream that the plugin has sent, if there is one.
func (c *check) outcomeEvent(l *life, n int) *wire.Delivery {
	sent := l.session.lastSent()
	o := &wire.Outcome{
		Id: ulid.Make().String(), Session: sent.GetSession(), MessageId: sent.GetMessageId(), Group: sent.GetGroup(), To: sent.GetTo(),
		Status: message.Acked.String(), Attempts: 1, Context: sent.GetContext(),
	}
	if o.Session == "" {
		o.Session = c.o.Sessions[0].Name
	}
	if sent == nil {
		o.MessageId, o.To = fmt.Sprint("check-", n), &wire.Target{To: &wire.Target_Token{Token: fmt.Sprint("check-device-", n)}}
	}
	return c.event(&wire.Delivery{Event: &wire.Delivery_Outcome{Outcome: o}})
}

func (c *check) receiptEvent(l *life, n int) *wire.Delivery {
	sent := l.session.lastSent()
	r := &wire.Receipt{
		Id: ulid.Make().String(), Session: c.o.Sessions[0].Name, OriginalMessageId: sent.GetMessageId(), Device: fmt.Sprint("check-device-", n),
		Category: c.category(l.manifest), Status: "MESSAGE_SENT_TO_DEVICE",
	}
	if sent == nil {
		r.OriginalMessageId = fmt.Sprint("check-", n)
	}
	return c.event(&wire.Delivery{Event: &wire.Delivery_Receipt{Receipt: r}})
}

// timerEvent is the last timer that the plugin has set, if there is one.
func (c *check) timerEvent(l *life, n int) *wire.Delivery {
	set := l.session.lastScheduled()
	t := &wire.Timer{
		Id: ulid.Make().String(), Session: c.o.Sessions[0].Name, Device: fmt.Sprint("check-device-", n),
		Key: set.GetKey(), Data: set.GetData(), DueMs: set.GetAtMs(),
	}
	if set == nil {
		t.Key, t.DueMs = fmt.Sprint("check-", n), int64(ulid.Now())
	}
	return c.event(&wire.Delivery{Event: &wire.Delivery_Timer{Timer: t}})
}

func (s *session) lastSent() *wire.Downstream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.book.sent
}

func (s *session) lastScheduled() *wire.Schedule {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.book.scheduled
}
