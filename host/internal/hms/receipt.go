package hms

import (
	"cmp"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// Receipt says what became of one message.
type Receipt struct {
	Token     string
	MessageID string    // the message's biTag, which is our id of it; else Huawei's requestId
	Category  string    // the app's package name, if Huawei says it
	Status    string    // see [Status]
	At        time.Time // zero: Huawei does not say
}

// MaxReceipts is how many there may be in one body. Huawei sends up to 1,000.
const MaxReceipts = 1000

// ErrReceipts is a body that has no list of receipts.
var ErrReceipts = errors.New(`the body is not JSON with a list "statuses" of at most 1000`)

// words are what Huawei's codes mean. Delivered has CCS's word, for plugins that know
// that.
var words = map[string]string{
	"0": "MESSAGE_SENT_TO_DEVICE", "2": "UNINSTALLED", "5": "TOKEN_MISMATCH", "6": "NOT_DISPLAYED", "10": "INACTIVE",
	"14": "INTERNAL_ERROR", "15": "OVERWRITTEN", "22": "OTHER_USER", "27": "CACHED_NO_PROCESS", "102": "THROTTLED",
	"144": "OTHER_PROFILE", "256": "THROTTLED", "259": "CONTENT_REFUSED",
}

// Status is the word for one of Huawei's codes. A code that is not known is HUAWEI_ and
// its number.
func Status(code string) string {
	return cmp.Or(words[code], "HUAWEI_"+code)
}

// receipt is one of V1 or of V2, whose result is in an object of its own.
type receipt struct {
	Token     json.RawMessage `json:"token"`
	BiTag     json.RawMessage `json:"biTag"`
	RequestID json.RawMessage `json:"requestId"`
	Package   json.RawMessage `json:"appPackageName"`
	Status    json.RawMessage `json:"status"`
	Timestamp json.RawMessage `json:"timestamp"`
	V2        struct {
		Result    json.RawMessage `json:"result"`
		Timestamp json.RawMessage `json:"timestamp"`
	} `json:"deliveryStatus"`
}

// ParseReceipts reads a body, of V1 or V2. Receipts that name no device, message or code
// are of nothing that could be found, and are left out.
func ParseReceipts(body []byte) (out []Receipt, err error) {
	var in struct {
		Statuses []json.RawMessage `json:"statuses"`
	}
	if json.Unmarshal(body, &in) != nil || in.Statuses == nil || len(in.Statuses) > MaxReceipts {
		return nil, ErrReceipts
	}
	for _, raw := range in.Statuses {
		var r receipt
		if json.Unmarshal(raw, &r) != nil {
			continue
		}
		code := cmp.Or(textOrNumber(r.V2.Result), textOrNumber(r.Status))
		at, _ := moment(cmp.Or(textOrNumber(r.V2.Timestamp), textOrNumber(r.Timestamp)))
		one := Receipt{Token: text(r.Token), MessageID: cmp.Or(text(r.BiTag), text(r.RequestID)), Category: text(r.Package), At: at}
		if one.Token == "" || one.MessageID == "" || code == "" || strings.Trim(code, "0123456789") != "" || len(code) > 9 {
			continue
		}
		one.Status = Status(code)
		out = append(out, one)
	}
	return out, nil
}
