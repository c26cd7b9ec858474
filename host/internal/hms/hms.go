// Package hms reads what Huawei's servers deliver: uplinks of devices, and receipts. It
// checks their signatures. It is pure. It keeps P10 for them: what Huawei has signed is
// taken however odd it is, since nobody is there to be told. Start at [ParseSignature] and
// [ParseUplink]. Spec: fcm-v1-and-gateway.md E.
package hms

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

// The headers in which the signatures are.
const (
	UplinkHeader  = "X-HW-SIGNATURE"
	ReceiptHeader = "X-HUAWEI-CALLBACK-ID"
)

// Signature is one of these headers.
type Signature struct {
	Time      time.Time
	Nonce     string
	timestamp string // as it was signed
	value     []byte
}

// ErrSignature is a header that is not as Huawei writes it.
var ErrSignature = errors.New("the signature is not timestamp=…; nonce=…; value=…")

// maxHeader bounds a signature's header, in bytes. Huawei's have about 150.
const maxHeader = 2 << 10

// ParseSignature reads a header. Spaces, the order of the parts, the case of their names,
// and parts that it does not know make no difference.
func ParseSignature(header string) (s Signature, err error) {
	if len(header) > maxHeader {
		return s, ErrSignature
	}
	found := map[string]string{}
	for _, part := range strings.Split(header, ";") {
		name, value, _ := strings.Cut(part, "=") // the first: base64 ends with others
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := found[name]; twice && name != "" {
			return s, ErrSignature
		}
		found[name] = strings.TrimSpace(value)
	}
	s.timestamp, s.Nonce = found["timestamp"], found["nonce"]
	at, ok := moment(s.timestamp)
	s.Time = at
	s.value, err = base64.StdEncoding.DecodeString(found["value"])
	if err != nil || !ok || len(s.value) != sha256.Size {
		return Signature{}, ErrSignature
	}
	return s, nil
}

// moment reads a time since 1970: 13 digits are milliseconds, and 10 are seconds.
func moment(text string) (at time.Time, ok bool) {
	n, err := strconv.ParseUint(text, 10, 63)
	switch {
	case err != nil:
	case len(text) == 13:
		return time.UnixMilli(int64(n)), true
	case len(text) == 10:
		return time.Unix(int64(n), 0), true
	}
	return time.Time{}, false
}

// SignsUplink reports whether the key has signed body.
func (s Signature) SignsUplink(key string, body []byte) bool {
	return s.signs(key, []byte(s.timestamp+":"), body)
}

// SignsReceipts reports whether the key has signed for the callback user. Huawei does not
// sign the body of receipts.
func (s Signature) SignsReceipts(key, user string) bool {
	return s.signs(key, []byte(s.timestamp+s.Nonce+user), nil)
}

// signs tries both forms of a key: new ones are the base64 of what signs, and old ones
// sign as they are.
func (s Signature) signs(key string, head, body []byte) bool {
	if key == "" {
		return false
	}
	good := hmac.Equal(s.value, sum([]byte(key), head, body))
	if decoded, err := base64.StdEncoding.DecodeString(key); err == nil && len(decoded) > 0 {
		good = hmac.Equal(s.value, sum(decoded, head, body)) || good
	}
	return good
}

func sum(key, head, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(head)
	h.Write(body)
	return h.Sum(nil)
}
