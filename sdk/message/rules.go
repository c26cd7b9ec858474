package message

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// rule checks one value of a raw block. The value is JSON text, and valid.
type rule func(c *checker, path string, value []byte)

// fields is an object that has no other fields than these.
type fields map[string]rule

func (f fields) check(c *checker, path string, value []byte) {
	if !c.kind(path, value, '{') {
		return
	}
	eachField(value, func(key string, value []byte) {
		check, known := f[key]
		switch {
		case known:
			check(c, path+"."+key, value)
		case f[snake(key)] != nil:
			c.add(path+"."+key, "is not written as here", fmt.Sprintf("write it %q", snake(key)))
		default:
			c.add(path+"."+key, "is not a field that FCM's HTTP v1 has there", "leave it out, or correct its name")
		}
	})
}

// snake writes a name in lowerCamelCase, which FCM takes as well, in snake_case. With one
// spelling no field can be there twice.
func snake(name string) string {
	return capital.ReplaceAllStringFunc(name, func(letter string) string { return "_" + strings.ToLower(letter) })
}

var capital = regexp.MustCompile("[A-Z]")

// kind refuses a value of another JSON type than the one that begins with first.
func (c *checker) kind(path string, value []byte, first byte) bool {
	got := value[0]
	switch {
	case got == first:
		return true
	case first == '0' && (got == '-' || got >= '0' && got <= '9'):
		return true
	case first == 't' && got == 'f':
		return true
	}
	c.add(path, "is "+typeName(value), "give "+typeName([]byte{first}))
	return false
}

func anyObject(c *checker, path string, value []byte) { c.kind(path, value, '{') }

func anyText(c *checker, path string, value []byte) { c.kind(path, value, '"') }

func boolean(c *checker, path string, value []byte) { c.kind(path, value, 't') }

// count is a whole number from 0 on.
func count(c *checker, path string, value []byte) {
	if !c.kind(path, value, '0') {
		return
	}
	if n, err := strconv.ParseInt(string(value), 10, 32); err != nil || n < 0 {
		c.add(path, fmt.Sprintf("is %.40s", value), "give a whole number from 0 on")
	}
}

// texts is an object with text in all fields, and these rules for some.
type texts map[string]rule

func (t texts) check(c *checker, path string, value []byte) {
	if !c.kind(path, value, '{') {
		return
	}
	eachField(value, func(key string, value []byte) {
		if check := t[key]; c.kind(path+"."+key, value, '"') && check != nil {
			check(c, path+"."+key, value)
		}
	})
}

// listOf is an array whose items keep one rule.
func listOf(item rule) rule {
	return func(c *checker, path string, value []byte) {
		if c.kind(path, value, '[') {
			eachItem(value, func(i int, value []byte) { item(c, fmt.Sprintf("%s[%d]", path, i), value) })
		}
	}
}

// textThat is a text that fits holds for; mend says how to write it.
func textThat(fits func(string) bool, mend string) rule {
	return func(c *checker, path string, value []byte) {
		if !c.kind(path, value, '"') {
			return
		}
		if s := unquote(value); !fits(s) {
			c.add(path, fmt.Sprintf("is %.80q", s), mend)
		}
	}
}

func oneOf(words ...string) rule {
	return textThat(func(s string) bool { return slices.Contains(words, s) }, "use "+strings.Join(words, ", "))
}

func matching(pattern, mend string) rule {
	return textThat(regexp.MustCompile("^(?:"+pattern+")$").MatchString, mend)
}

func within(limit int) rule {
	return textThat(func(s string) bool { return len(s) <= limit }, fmt.Sprintf("use at most %d bytes, for example a hash", limit))
}

// isDuration reports whether s is a protobuf duration from 0 on, "3.5s" (A1).
func isDuration(s string) bool { return duration.MatchString(s) }

var duration = regexp.MustCompile(`^[0-9]{1,11}(?:\.[0-9]{1,9})?s$`)

// isTTL reports whether s is a duration of at most MaxTTL.
func isTTL(s string) bool {
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, "s"), 64)
	return isDuration(s) && err == nil && n <= MaxTTL.Seconds()
}

func isLink(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != ""
}

// field is the value of one field of an object; nil: it is not there.
func field(object json.RawMessage, path ...string) (value json.RawMessage) {
	value = object
	for _, name := range path {
		if len(value) == 0 || value[0] != '{' {
			return nil
		}
		inside := value
		value = nil
		eachField(inside, func(key string, v []byte) {
			if key == name {
				value = v
			}
		})
	}
	return value
}
