package message

import (
	"bytes"
	"encoding/json"
)

const space = " \t\r\n"

// eachField goes over the fields of an object that is known to be valid JSON,
// in order, the values as they stand. A map would hide a key that is there twice.
func eachField(object []byte, field func(key string, value []byte)) {
	b := object[1:]
	for {
		if b = bytes.TrimLeft(b, space+","); b[0] == '}' {
			return
		}
		key := b[:stringEnd(b)]
		b = bytes.TrimLeft(b[len(key):], space+":")
		value := b[:valueEnd(b)]
		field(unquote(key), value)
		b = b[len(value):]
	}
}

// valueEnd is the length of the value that b begins with.
func valueEnd(b []byte) int {
	switch b[0] {
	case '"':
		return stringEnd(b)
	case '{', '[':
		for i, depth := 0, 0; ; i++ {
			switch b[i] {
			case '"':
				i += stringEnd(b[i:]) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	return bytes.IndexAny(b, space+",}")
}

// stringEnd is the length of the string that b begins with, quotes included.
func stringEnd(b []byte) int {
	for i := 1; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

func unquote(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b[1 : len(b)-1])
	}
	var s string
	json.Unmarshal(b, &s) // a valid string: it cannot fail
	return s
}

// typeName names the type of a value that is no string.
func typeName(value []byte) string {
	switch value[0] {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '[':
		return "an array"
	case '{':
		return "an object"
	}
	return "a number"
}
