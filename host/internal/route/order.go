package route

import (
	"bytes"
	"cmp"
	"encoding/json"
	"hash/fnv"
	"strings"

	"balhost/sdk/message"
)

// Order says what is the key of an upstream's lane. Upstreams with equal keys are
// handled one after the other. The zero value is no order.
type Order struct {
	device bool
	path   []string
}

// ParseOrder reads an order as [message.OrderPath] does. "" means "device", so that
// nobody loses the order by leaving the setting out.
func ParseOrder(s string) (Order, error) {
	path, err := message.OrderPath(cmp.Or(s, "device"))
	if err != nil {
		return Order{}, err
	}
	return Order{device: s != "none", path: path}, nil
}

// String is the order as ParseOrder reads it.
func (o Order) String() string {
	switch {
	case o.path != nil:
		return "key:" + strings.Join(o.path, ".")
	case o.device:
		return "device"
	}
	return "none"
}

// NeedsPayload reports whether Lane looks into the payload.
func (o Order) NeedsPayload() bool { return o.path != nil }

// Lane is the key of an upstream's lane. ok is false if the upstream has a lane of its
// own. device is the hash of the device's token. payload may be nil unless
// NeedsPayload. If the value at the path is missing or null, the lane is the device's.
func (o Order) Lane(device uint64, payload []byte) (lane uint64, ok bool) {
	if value := lookup(payload, o.path); value != nil {
		return hash(value), true
	}
	return device, o.device
}

// Again is the lane of what belongs to the lane of a device's upstream: key is that of the
// upstream in an order by key, 0 if it had none.
func (o Order) Again(device, key uint64) (lane uint64, ok bool) {
	if o.path != nil && key != 0 {
		return key, true
	}
	return device, o.device
}

// Named are the lanes that a person may mean by an ordering key, as [Order.Name] shows it:
// that of the text, and if the text is a JSON value such as 17, that of the value too.
func Named(key string) []uint64 {
	values := [][]byte{[]byte("s" + key)}
	var compact bytes.Buffer
	if json.Compact(&compact, []byte(key)) == nil && !strings.HasPrefix(compact.String(), `"`) {
		values = append(values, compact.Bytes())
	}
	var lanes []uint64
	for _, value := range values {
		lanes = append(lanes, hash(value))
	}
	return lanes
}

func hash(value []byte) uint64 {
	h := fnv.New64a()
	h.Write(value)
	return h.Sum64()
}

// lookup returns the value at path in a JSON object; nil if it is missing or null. A
// string is returned without quotes and escapes, so that "a" and "\u0061" are one key.
func lookup(payload []byte, path []string) []byte {
	if len(path) == 0 {
		return nil
	}
	value := json.RawMessage(payload)
	for _, name := range path {
		var object map[string]json.RawMessage
		if json.Unmarshal(value, &object) != nil {
			return nil
		}
		value = object[name]
	}
	var text string
	switch {
	case len(value) == 0 || bytes.Equal(value, []byte("null")):
		return nil
	case json.Unmarshal(value, &text) == nil:
		return []byte("s" + text)
	}
	var compact bytes.Buffer
	if json.Compact(&compact, value) != nil {
		return nil
	}
	return compact.Bytes()
}

// Name is the name of an upstream's lane for people: the value at the path, or else
// the device; "" without order.
func (o Order) Name(device string, payload []byte) string {
	if value := lookup(payload, o.path); value != nil {
		return strings.TrimPrefix(string(value), "s")
	}
	if o.device {
		return device
	}
	return ""
}
