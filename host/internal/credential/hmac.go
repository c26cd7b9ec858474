package credential

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"
)

// scheme is how a signed request's header Authorization begins.
const scheme = "BALHOST"

// skew is how far the time of a signed request may be from ours. A request that is
// repeated within it does no harm: its message ids are known (P6).
const skew = 300 * time.Second

// maxKeyName bounds the name of a device's key, which is its from, in bytes.
const maxKeyName = 255

// Signed reports whether a header Authorization signs the request's body. Only then is
// the body needed to say who a device is.
func Signed(authorization string) bool {
	name, _, _ := strings.Cut(authorization, " ")
	return strings.EqualFold(name, scheme)
}

// signature is what the header of a signed request says.
type signature struct {
	key, ts string
	sig     []byte
}

// errSignature is a header that is not as [Sign] writes it.
var errSignature = errors.New(`not BALHOST key="…", ts="…", sig="…"`)

// parseSignature reads a header. Parameters that it does not know are skipped.
func parseSignature(header string) (s signature, err error) {
	if !Signed(header) || len(header) > MaxToken {
		return s, errSignature
	}
	_, rest, _ := strings.Cut(header, " ")
	found := map[string]string{}
	for rest = strings.TrimSpace(rest); rest != ""; {
		name, after, ok := strings.Cut(rest, `="`)
		value, after, closed := strings.Cut(after, `"`)
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := found[name]; twice || !ok || !closed || name == "" || strings.Contains(value, `\`) {
			return s, errSignature
		}
		found[name] = value
		rest = strings.TrimSpace(after)
		if rest == "" {
			break
		}
		if rest, ok = strings.CutPrefix(rest, ","); !ok {
			return s, errSignature
		}
	}
	s.key, s.ts = found["key"], found["ts"]
	s.sig, err = base64.StdEncoding.Strict().DecodeString(found["sig"])
	if err != nil || s.key == "" || len(s.key) > maxKeyName || s.ts == "" || len(s.sig) != sha256.Size {
		return s, errSignature
	}
	return s, nil
}

// hmac checks a signed request. Spec: fcm-v1-and-gateway.md C4.
func (r Rule) hmac(s Shown, now time.Time) (id Identity, err error) {
	if !Signed(s.Authorization) {
		return id, &Denied{Why: "the request is not signed", scheme: scheme, none: true}
	}
	got, err := parseSignature(s.Authorization)
	if err != nil {
		return id, &Denied{Why: "the header Authorization is " + err.Error(), scheme: scheme}
	}
	seconds, err := strconv.ParseInt(got.ts, 10, 64)
	if off := now.Sub(time.Unix(seconds, 0)); err != nil || off > skew || off < -skew {
		return id, &Denied{Why: "ts is not within 300 s of the host's clock, in seconds since 1970", scheme: scheme}
	}
	secret, known := r.secretOf(got.key)
	good := hmac.Equal(got.sig, sum(secret, s.Method, s.Path, got.ts, s.Body))
	if !known || !good { // one answer to both, after the same work
		return id, &Denied{Why: "the key is unknown, or the signature is wrong", scheme: scheme}
	}
	return Identity{User: got.key, From: got.key}, nil
}

// secretOf is the secret of a device's key. If there is none, known is false and the
// secret is nobody's.
func (r Rule) secretOf(key string) (secret []byte, known bool) {
	if r.Master != "" {
		return Derive(r.Master.Reveal(), key), true
	}
	text := r.Secrets[key].Reveal()
	return []byte(text), text != ""
}

// Derive is the secret of a device's key, made from the master: HMAC-SHA256(master, key),
// 32 bytes.
func Derive(master, key string) []byte {
	h := hmac.New(sha256.New, []byte(master))
	h.Write([]byte(key))
	return h.Sum(nil)
}

// Sign is the header Authorization of a request: what a device sends.
func Sign(key string, secret []byte, s Shown, now time.Time) string {
	ts := strconv.FormatInt(now.Unix(), 10)
	return scheme + ` key="` + key + `", ts="` + ts + `", sig="` + base64.StdEncoding.EncodeToString(sum(secret, s.Method, s.Path, ts, s.Body)) + `"`
}

func sum(secret []byte, method, path, ts string, body []byte) []byte {
	digest := sha256.Sum256(body)
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(method + "\n" + path + "\n" + ts + "\n" + hex.EncodeToString(digest[:])))
	return h.Sum(nil)
}
