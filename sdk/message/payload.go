package message

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// payload marshals v. The result must be an object with string values. It gives each
// field to check. size is the number of bytes in all keys and values.
func (c *checker) payload(name string, v any, check func(key, value string)) (raw json.RawMessage, size int) {
	text, ok := v.(json.RawMessage)
	if !ok && v != nil {
		var err error
		if text, err = json.Marshal(v); err != nil {
			c.add(name, fmt.Sprintf("cannot be marshalled (%v)", err), "use a struct or map with string values")
			return nil, 0
		}
		// encoding/json writes this escape where a string was not UTF-8, and nowhere else.
		const replaced = `\ufffd`
		if bytes.Contains(text, []byte(replaced)) && bytes.Contains(bytes.ReplaceAll(text, []byte(`\\`), nil), []byte(replaced)) {
			c.add(name, "has a string that is not UTF-8", "encode it, base64 for bytes; do not cut text inside a character")
			return nil, 0
		}
	}
	if text, ok = c.object(name, text, "use a struct or map with string values"); !ok {
		return nil, 0
	}
	return text, c.strings(name, text, check)
}

// block is one platform's raw block; nil if there is none.
func (c *checker) block(name string, raw json.RawMessage) json.RawMessage {
	text, ok := c.object(name, raw, "give the block of one platform, as FCM's HTTP v1 has it")
	if !ok {
		return nil
	}
	c.once(name, text, 0)
	return text
}

// object is a JSON object that may come from anywhere, without the white space around
// it. It is not ok if there is none, or if it is wrong.
func (c *checker) object(name string, text json.RawMessage, mend string) (object json.RawMessage, ok bool) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || string(text) == "null" {
		return nil, false
	}
	if len(text) > MaxText {
		c.add(name, fmt.Sprintf("is %d bytes of JSON text", len(text)), fmt.Sprintf("use at most %d; leave out white space", MaxText))
		return nil, false
	}
	if !c.decodable(name, text) {
		return nil, false
	}
	if text[0] != '{' || !json.Valid(text) {
		c.add(name, fmt.Sprintf("is not a JSON object: %.40q", text), mend)
		return nil, false
	}
	return text, true
}

// strings checks an object of strings, or nil, and gives each field to check. size is the
// number of bytes in all keys and values.
func (c *checker) strings(name string, object []byte, check func(key, value string)) (size int) {
	if object == nil {
		return 0
	}
	var seen names
	eachField(object, func(key string, value []byte) {
		if !seen.add(key) {
			c.twice(name + "." + key)
		}
		if value[0] != '"' {
			c.add(name+"."+key, "is "+typeName(value), "FCM takes strings only; marshal it into one")
			return
		}
		s := unquote(value)
		size += len(key) + len(s)
		check(key, s)
	})
	return size
}

// maxDepth is how deep objects and arrays of a raw block may be inside each other.
const maxDepth = 32

// once refuses a key that is twice in one object, at any depth: FCM would take the last.
func (c *checker) once(path string, value []byte, depth int) {
	if value[0] != '{' && value[0] != '[' {
		return
	}
	if depth == maxDepth {
		c.add(path, fmt.Sprintf("is more than %d objects and arrays deep", maxDepth), "make it flatter")
		return
	}
	if value[0] == '[' {
		eachItem(value, func(i int, item []byte) { c.once(fmt.Sprintf("%s[%d]", path, i), item, depth+1) })
		return
	}
	var seen names
	eachField(value, func(key string, value []byte) {
		if !seen.add(key) {
			c.twice(path + "." + key)
		}
		c.once(path+"."+key, value, depth+1)
	})
}

func (c *checker) twice(path string) { c.add(path, "is there twice", "leave one out") }

func (c *checker) decodable(name string, text []byte) bool {
	if !utf8.Valid(text) {
		c.add(name, "is not UTF-8", "encode it, base64 for bytes")
		return false
	}
	if i := halfSurrogate(text); i >= 0 { // Spec: ccs-protocol.md §2 rule 3
		c.add(name, fmt.Sprintf("has half a surrogate pair at byte %d, %s", i, text[i:i+len(`\ud800`)]), "write both halves; do not cut text inside a character")
		return false
	}
	return true
}

// dataField refuses keys that FCM reserves, or hides from the app (ccs-protocol.md §3.1,
// fcm-v1-and-gateway.md A3).
func (c *checker) dataField(key, _ string) { c.dataKey("data."+key, key) }

func (c *checker) dataKey(path, key string) {
	if key == "from" || key == "message_type" || strings.HasPrefix(key, "google") || strings.HasPrefix(key, "gcm") {
		c.add(path, "is a key that FCM reserves", "choose another; from, message_type, google… and gcm… are reserved")
	}
}

// notificationField checks that arguments are a JSON array in a string
// (ccs-protocol.md §3.2).
func (c *checker) notificationField(key, value string) {
	if !strings.HasSuffix(key, "_loc_args") {
		return
	}
	var args []any
	if err := json.Unmarshal([]byte(value), &args); err != nil || args == nil {
		c.add("notification."+key, fmt.Sprintf("is %.40q, not a JSON array in a string", value), `write it like "[\"Ann\",\"3\"]"`)
	}
}

// names is a set of keys. Most objects have few.
type names struct {
	few  []string
	many map[string]bool
}

// add reports whether name is new.
func (n *names) add(name string) bool {
	const few = 16
	for _, known := range n.few {
		if known == name {
			return false
		}
	}
	if len(n.few) < few {
		n.few = append(n.few, name)
		return true
	}
	if n.many[name] {
		return false
	}
	if n.many == nil {
		n.many = map[string]bool{}
	}
	n.many[name] = true
	return true
}
