package hms

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

const stamp = "1563105451261"

// sign is what Huawei writes as value.
func sign(key, text string) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// Sheet E: the header of an uplink, however its spaces are, and both forms of the key.
func TestUplinkSignature(t *testing.T) {
	body := `{"from":"t"}`
	encoded := base64.StdEncoding.EncodeToString([]byte("secret"))
	value := sign("secret", stamp+":"+body)
	for _, c := range []struct {
		header, key string
		good        bool
	}{
		{"timestamp=" + stamp + "; nonce=:; value=" + value, "secret", true},
		{"timestamp=" + stamp + ";nonce=:;value=" + value, encoded, true},
		{" Value = " + value + " ;  NONCE=: ; timestamp = " + stamp + " ; v=2;", "secret", true},
		{"timestamp=" + stamp + "; nonce=:; value=" + value, "other", false},
		{"timestamp=" + stamp + "; nonce=:; value=" + value, "", false},
		{"timestamp=1563105451262; nonce=:; value=" + value, "secret", false},
		{"timestamp=" + stamp + "; nonce=:; value=" + sign("secret", stamp+":"+body+" "), "secret", false},
	} {
		s, err := ParseSignature(c.header)
		if err != nil || s.SignsUplink(c.key, []byte(body)) != c.good {
			t.Errorf("%+v: %+v, %v", c, s, err)
		}
	}
	for _, bad := range []string{
		"", "timestamp=" + stamp, "timestamp=now; nonce=:; value=" + value, "timestamp=156310545; nonce=:; value=" + value, "nonce=:; value=" + value,
		"timestamp=" + stamp + "; nonce=:; value=AAAA", "timestamp=" + stamp + "; nonce=:; value=*", "timestamp=" + stamp + "; timestamp=" + stamp + "; nonce=:; value=" + value,
		"timestamp=" + stamp + "; nonce=" + strings.Repeat("n", maxHeader) + "; value=" + value, "timestamp=-563105451261; value=" + value,
	} {
		if _, err := ParseSignature(bad); !errors.Is(err, ErrSignature) {
			t.Errorf("%.80q: %v", bad, err)
		}
	}
}

// Sheet E: receipts are signed without their body, in milliseconds; some write seconds.
func TestReceiptSignature(t *testing.T) {
	for stamp, at := range map[string]time.Time{stamp: time.UnixMilli(1563105451261), "1563105451": time.Unix(1563105451, 0)} {
		s, err := ParseSignature("timestamp=" + stamp + "; nonce=3a5b; value=" + sign("secret", stamp+"3a5b"+"user"))
		if err != nil || !s.Time.Equal(at) || s.Nonce != "3a5b" || !s.SignsReceipts("secret", "user") || s.SignsReceipts("secret", "other") || s.SignsUplink("secret", nil) {
			t.Errorf("%s: %+v, %v", stamp, s, err)
		}
	}
}

// Data is decoded where it is the base64 of an object, and else kept as it is: it is never
// a reason to refuse.
func TestUplinkBodies(t *testing.T) {
	b := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for in, want := range map[string]Uplink{
		`{"from":"t","category":"com.example","message_id":"m","data":"` + b(`{"a":"b"}`) + `"}`:   {"t", "com.example", "m", json.RawMessage(`{"a":"b"}`)},
		`{"from":"t","message_id":1563105451261}`:                                                  {"t", "", "1563105451261", nil},
		`{"from":"t","message_id":"m","data":null}`:                                                {"t", "", "m", nil},
		`{"from":"t","message_id":"m","data":""}`:                                                  {"t", "", "m", json.RawMessage(`{"raw":""}`)},
		`{"from":"t","message_id":"m","data":"hi \"there\""}`:                                      {"t", "", "m", json.RawMessage(`{"raw":"hi \"there\""}`)},
		`{"from":"t","message_id":"m","data":"` + b(`[1]`) + `"}`:                                  {"t", "", "m", json.RawMessage(`{"raw":"` + b(`[1]`) + `"}`)},
		`{"from":"t","message_id":"m","data":"` + b(`{"a":`) + `"}`:                                {"t", "", "m", json.RawMessage(`{"raw":"` + b(`{"a":`) + `"}`)},
		`{"from":"t","message_id":"m","data":"` + b("{\"a\":\"\xff\"}") + `"}`:                     {"t", "", "m", json.RawMessage(`{"raw":"` + b("{\"a\":\"\xff\"}") + `"}`)},
		`{"from":"t","message_id":"m","data":"` + strings.TrimRight(b(` {"a":"bc"} `), "=") + `"}`: {"t", "", "m", json.RawMessage(`{"a":"bc"}`)},
		`{"from":"t","message_id":"m","data":{"a":1}}`:                                             {"t", "", "m", json.RawMessage(`{"a":1}`)},
		`{"from":"t","message_id":"m","data":[1]}`:                                                 {"t", "", "m", json.RawMessage(`{"raw":"[1]"}`)},
		`{"from":"t","message_id":"a\ud800"}`:                                                      {"t", "", `a\ud800`, nil},
		`{"from":"t","message_id":"m","category":7,"new":[]}`:                                      {"t", "", "m", nil},
	} {
		if u, err := ParseUplink([]byte(in)); err != nil || !reflect.DeepEqual(u, want) {
			t.Errorf("%s: %+v %s, %v", in, u, u.Data, err)
		}
	}
	for in, want := range map[string]error{
		"": ErrNotJSON, "[]": ErrNotJSON, "null": ErrNotJSON, "{": ErrNotJSON, "{\"from\":\"\xff\"}": ErrNotJSON,
		`{"message_id":"m"}`: ErrNoFrom, `{"from":7,"message_id":"m"}`: ErrNoFrom, `{"from":"t"}`: ErrMessageID, `{"from":"t","message_id":[]}`: ErrMessageID,
	} {
		if _, err := ParseUplink([]byte(in)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", in, err, want)
		}
	}
}

// Both versions of receipts, with numbers or texts as codes.
func TestReceiptBodies(t *testing.T) {
	for in, want := range map[string][]Receipt{
		`{"statuses":[{"biTag":"d-1","appid":"1","token":"t","status":0,"timestamp":1563105451261,"requestId":"r"}]}`:                                               {{"t", "d-1", "", "MESSAGE_SENT_TO_DEVICE", time.UnixMilli(1563105451261)}},
		`{"statuses":[{"token":"t","pushType":0,"appPackageName":"p","biTag":"","requestId":"r","deliveryStatus":{"result":"15","timestamp":"1563105451"}}]}`:       {{"t", "r", "p", "OVERWRITTEN", time.Unix(1563105451, 0)}},
		`{"statuses":[{"token":"t","biTag":"d-1","status":999},{"token":"t","status":0},{"biTag":"d","status":0},{"token":"t","biTag":"d","status":"new"},7,null]}`: {{"t", "d-1", "", "HUAWEI_999", time.Time{}}},
		`{"statuses":[]}`: nil,
	} {
		if got, err := ParseReceipts([]byte(in)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "{}", "[]", `{"statuses":{}}`, `{"statuses":[` + strings.Repeat("0,", MaxReceipts) + `0]}`} {
		if _, err := ParseReceipts([]byte(in)); !errors.Is(err, ErrReceipts) {
			t.Errorf("%.40s: %v", in, err)
		}
	}
}

// P10: no header makes ParseSignature panic, and none is signed without the key.
func FuzzSignature(f *testing.F) {
	f.Add("timestamp=" + stamp + "; nonce=:; value=" + sign("other", ""))
	f.Add("timestamp=1;;=;value==")
	f.Fuzz(func(t *testing.T, header string) {
		if s, err := ParseSignature(header); err == nil && (s.SignsUplink("secret", nil) || s.SignsReceipts("secret", "user")) {
			t.Errorf("%q is signed", header)
		}
	})
}

// P10: no body makes ParseUplink panic, and Data is an object or nothing.
func FuzzUplink(f *testing.F) {
	f.Add([]byte(`{"from":"t","category":"com.example","message_id":"m","data":"eyJhIjoiYiJ9"}`))
	f.Add([]byte(`{"from":"t","message_id":1,"data":{}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		u, err := ParseUplink(body)
		if err == nil && (u.From == "" || u.MessageID == "") {
			t.Errorf("%q: %+v", body, u)
		}
		var object map[string]json.RawMessage
		if u.Data != nil && (json.Unmarshal(u.Data, &object) != nil || object == nil) {
			t.Errorf("%q: data %q", body, u.Data)
		}
	})
}

// P10: no body makes ParseReceipts panic, and each receipt is of something.
func FuzzReceipts(f *testing.F) {
	f.Add([]byte(`{"statuses":[{"biTag":"d-1","token":"t","status":0,"timestamp":1563105451261}]}`))
	f.Add([]byte(`{"statuses":[{"token":"t","requestId":"r","deliveryStatus":{"result":15}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		all, _ := ParseReceipts(body)
		for _, r := range all {
			if r.Token == "" || r.MessageID == "" || r.Status == "" {
				t.Errorf("%q: %+v", body, r)
			}
		}
	})
}
