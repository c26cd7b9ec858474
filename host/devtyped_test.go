package main

import "testing"

// What a person types is sent as a device's message, or the mistake is named.
func TestTypedLines(t *testing.T) {
	for text, want := range map[string]string{
		`phone-1 {"city":"Oslo"}`:               `phone-1||{"city":"Oslo"}|`,
		`  phone-1   {"a": {"b": [1, "c d"]}} `: `phone-1||{"a": {"b": [1, "c d"]}}|`,
		`phone-1 com.example.b {"k":"v"}`:       `phone-1|com.example.b|{"k":"v"}|`,
		`phone-1 city=Oslo sky=`:                `phone-1||{"city":"Oslo","sky":""}|`,
		`phone-1 b city=Oslo`:                   `phone-1|b|{"city":"Oslo"}|`,
		`phone-1 a={"b":1}`:                     `phone-1||{"a":"{\"b\":1}"}|`,
		`phone-1 {"city":}`:                     `that is no JSON object: invalid character '}' looking for beginning of value`,
		`phone-1 city=Oslo sky`:                 `"sky": want key=value`,
		`phone-1 b =x`:                          `"=x": want key=value`,
		`phone-1`:                               usageOfLine,
		`{"city":"Oslo"}`:                       usageOfLine,
		`phone-1 [1]`:                           usageOfLine,
	} {
		l, err := parseLine(text)
		got := l.device + "|" + l.category + "|" + string(l.data) + "|"
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
