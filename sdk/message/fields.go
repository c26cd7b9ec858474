package message

import (
	"bytes"
	"encoding/json"
	"strconv"
)

const space = " \t\r\n"

// eachField calls field for each field of an object, in order. The object must be
// valid JSON. value is the field's JSON text. A map instead would hide a key that
// occurs twice.
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

// eachItem calls item for each item of an array, in order. The array must be valid JSON.
func eachItem(array []byte, item func(i int, value []byte)) {
	b := array[1:]
	for i := 0; ; i++ {
		if b = bytes.TrimLeft(b, space+","); b[0] == ']' {
			return
		}
		value := b[:valueEnd(b)]
		item(i, value)
		b = b[len(value):]
	}
}

// valueEnd is the length of the value at the start of b.
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
	return bytes.IndexAny(b, space+",}]")
}

// stringEnd is the length of the string at the start of b, with its quotes.
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
	json.Unmarshal(b, &s) // cannot fail: b is a valid string
	return s
}

// halfSurrogate returns where JSON text escapes only one half of a surrogate pair,
// such as \ud83d without \ude00, or -1. Half a pair is not a character.
func halfSurrogate(text []byte) int {
	for i := 0; i < len(text); i++ {
		next := bytes.IndexByte(text[i:], '\\')
		if next < 0 {
			break
		}
		i += next
		switch unit := utf16Unit(text[i:]); {
		case unit >= 0xDC00 && unit <= 0xDFFF:
			return i
		case unit >= 0xD800 && unit <= 0xDBFF:
			if low := utf16Unit(text[i+6:]); low < 0xDC00 || low > 0xDFFF {
				return i
			}
			i += 11 // of the pair's 12 bytes
		default:
			i++ // skip the escaped character, which may be a backslash
		}
	}
	return -1
}

// utf16Unit is the value of the \uXXXX at the start of b; 0 if there is none.
func utf16Unit(b []byte) uint64 {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0
	}
	unit, _ := strconv.ParseUint(string(b[2:6]), 16, 16)
	return unit
}

// typeName names the type of a value.
func typeName(value []byte) string {
	switch value[0] {
	case '"':
		return "a string"
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
