package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/hms"
)

// huaweiInbox keeps what is accepted until the test commits it.
type huaweiInbox struct {
	mu    sync.Mutex // guards what follows
	in    []entry.Inbound
	dones []func(error)
}

func (i *huaweiInbox) Accept(in entry.Inbound, done func(error)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.in, i.dones = append(i.in, in), append(i.dones, done)
}

// commit ends all that wait, each with the error of its turn, or the last one.
func (i *huaweiInbox) commit(errs ...error) (in []entry.Inbound) {
	synctest.Wait()
	i.mu.Lock()
	in, dones := i.in, i.dones
	i.in, i.dones = nil, nil
	i.mu.Unlock()
	for n, done := range dones {
		done(errs[min(n, len(errs)-1)])
	}
	return in
}

// pushKit is Huawei: it delivers to a gateway's routes.
type pushKit struct {
	t     *testing.T
	paths paths
	inbox *huaweiInbox
	h     *huawei
}

func newPushKit(t *testing.T) *pushKit {
	time.Sleep(26 * 365 * 24 * time.Hour) // bubbles begin in 2000, when milliseconds had 12 digits
	k := &pushKit{t: t, paths: paths{}, inbox: &huaweiInbox{}}
	k.h = newHuawei(&Options{SenderID: "4829", MaxTTL: 47 * time.Hour, Inbox: k.inbox, Huawei: &Huawei{CallbackKey: "secret", CallbackUser: "user"}}, New(Options{}).peerOf)
	k.h.routes(k.paths)
	return k
}

// post answers when the gateway does.
func (k *pushKit) post(path, header, value, body string) <-chan string {
	return k.postFrom(away, path, header, value, body)
}

func (k *pushKit) postFrom(address, path, header, value, body string) <-chan string {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.RemoteAddr = address
	if value != "" {
		r.Header.Set(header, value)
	}
	answer := make(chan string, 1)
	go func() {
		w := httptest.NewRecorder()
		k.paths.ServeHTTP(w, r)
		answer <- fmt.Sprint(w.Code, " ", w.Body.String())
	}()
	return answer
}

func (k *pushKit) uplink(at time.Time, key, body string) <-chan string {
	return k.uplinkFrom(away, at, key, body)
}

func (k *pushKit) uplinkFrom(address string, at time.Time, key, body string) <-chan string {
	stamp := strconv.FormatInt(at.UnixMilli(), 10)
	return k.postFrom(address, huaweiUplinkPath, hms.UplinkHeader, "timestamp="+stamp+"; nonce=:; value="+signedBy(key, stamp+":"+body), body)
}

func (k *pushKit) receipts(at time.Time, nonce, body string) <-chan string {
	stamp := strconv.FormatInt(at.UnixMilli(), 10)
	return k.post(huaweiReceiptsPath, hms.ReceiptHeader, "timestamp="+stamp+"; nonce="+nonce+"; value="+signedBy("secret", stamp+nonce+"user"), body)
}

func signedBy(key, text string) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

const goodUplink = `{"from":"hms-token","category":"com.example","message_id":"1563105451261","data":"eyJhIjoiYiJ9"}`

// Sheet E: Huawei hears "success" only after the commit. // P1
func TestHuaweiUplinkIsStoredBeforeSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newPushKit(t)
		answer := k.uplink(time.Now(), "secret", goodUplink)
		synctest.Wait()
		select {
		case early := <-answer:
			t.Fatalf("before the commit: %s", early)
		default:
		}
		in := k.inbox.commit(nil)
		if got := <-answer; got != `200 {"errno":"0","errmsg":"success"}` || len(in) != 1 {
			t.Fatalf("%s, %d stored", got, len(in))
		}
		u := in[0].Upstream
		if u.Session != "4829" || u.From != "hms-token" || u.Category != "com.example" || u.MessageID != "1563105451261" || string(u.Data) != `{"a":"b"}` || string(u.Raw) != goodUplink || in[0].Unusable != "" {
			t.Errorf("%+v", in[0])
		}
		answer = k.uplink(time.Now(), "secret", goodUplink)
		k.inbox.commit(entry.ErrFull)
		if got := <-answer; !strings.HasPrefix(got, "503 ") {
			t.Errorf("no room: %s", got)
		}
	})
}

// What Huawei has signed is never refused for being odd: what is nobody's becomes a dead
// letter. // P8
func TestHuaweiOddUplinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for body, unusable := range map[string]string{
			`{"from":"t","message_id":1,"data":"%%"}`: "",
			`{"message_id":"m"}`:                      "from is absent",
			`{"from":"t"}`:                            "message_id is absent",
			"\xff":                                    "not one JSON object",
			"":                                        "not one JSON object",
		} {
			k := newPushKit(t)
			answer := k.uplink(time.Now(), "secret", body)
			in := k.inbox.commit(nil)
			if got := <-answer; got != `200 {"errno":"0","errmsg":"success"}` || len(in) != 1 ||
				(in[0].Unusable == "") != (unusable == "") || !strings.Contains(in[0].Unusable, unusable) || string(in[0].Upstream.Raw) != body {
				t.Errorf("%q: %s, %+v", body, got, in)
			}
		}
	})
}

// Nobody but Huawei is let in, and nothing of theirs is stored. A repeat that could be
// stored twice is too old. // P10
func TestHuaweiForgeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newPushKit(t)
		now := time.Now()
		stamp := strconv.FormatInt(now.UnixMilli(), 10)
		for name, c := range map[string]struct {
			answer <-chan string
			want   string
		}{
			"unsigned uplink":     {k.post(huaweiUplinkPath, "", "", goodUplink), "401 "},
			"another key":         {k.uplink(now, "guess", goodUplink), "401 "},
			"changed body":        {k.post(huaweiUplinkPath, hms.UplinkHeader, "timestamp="+stamp+"; nonce=:; value="+signedBy("secret", stamp+":"+goodUplink), goodUplink+" "), "401 "},
			"older than MaxTTL":   {k.uplink(now.Add(-48*time.Hour), "secret", goodUplink), "401 "},
			"of the future":       {k.uplink(now.Add(6*time.Minute), "secret", goodUplink), "401 "},
			"uplink as a receipt": {k.post(huaweiReceiptsPath, hms.ReceiptHeader, "timestamp="+stamp+"; nonce=:; value="+signedBy("secret", stamp+":"+"{}"), "{}"), "401 "},
			"old receipts":        {k.receipts(now.Add(-6*time.Minute), "n1", `{"statuses":[]}`), "401 "},
			"receipts, no list":   {k.receipts(now, "n2", `{}`), "400 "},
			"giant":               {k.uplink(now, "secret", strings.Repeat(" ", huaweiBody+1)), "413 "},
			"unsigned console test": {k.post(huaweiReceiptsPath, "", "", `{"statuses":[{"biTag":"d-1","token":"t","status":0}]}`),
				`200 {"code":"0","message":"success","errno":"0","errmsg":"success"}`},
		} {
			if got := <-c.answer; !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s", name, got)
			}
		}
		get := httptest.NewRecorder()
		if k.paths.ServeHTTP(get, httptest.NewRequest(http.MethodGet, huaweiUplinkPath, nil)); get.Code != http.StatusNotFound {
			t.Errorf("a GET: %d", get.Code)
		}
		if in := k.inbox.commit(nil); len(in) != 0 {
			t.Errorf("stored: %+v", in)
		}
		if k.h.denied.Load() != 7 {
			t.Errorf("%d denied", k.h.denied.Load())
		}
	})
}

// Receipts become events only of what was sent to that device. A delivery that comes again
// is not stored again, unless the first one found no room. // P6
func TestHuaweiReceipts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newPushKit(t)
		at := time.Now()
		const body = `{"statuses":[{"token":"t","biTag":"d-1","status":0,"timestamp":1563105451261},{"token":"t","biTag":"d-2","status":10}]}`
		const success = `200 {"code":"0","message":"success","errno":"0","errmsg":"success"}`
		answer := k.receipts(at, "n1", body)
		synctest.Wait()
		if busy := <-k.receipts(at, "n1", body); !strings.HasPrefix(busy, "503 ") {
			t.Errorf("the same while it is being stored: %s", busy)
		}
		k.inbox.commit(nil, entry.ErrFull)
		if got := <-answer; !strings.HasPrefix(got, "503 ") {
			t.Errorf("no room: %s", got)
		}
		answer = k.receipts(at, "n1", body)
		in := k.inbox.commit(nil, entry.ErrNotSent)
		if got := <-answer; got != success || len(in) != 2 {
			t.Fatalf("%s, %d", got, len(in))
		}
		r := in[0].Receipt
		if !in[0].FromDevice || r.Session != "4829" || r.Device != "t" || r.OriginalMessageID != "d-1" || r.Status != "MESSAGE_SENT_TO_DEVICE" || in[1].Receipt.Status != "INACTIVE" {
			t.Errorf("%+v", in)
		}
		if got := <-k.receipts(at, "n1", body); got != success {
			t.Errorf("again: %s", got)
		}
		if in := k.inbox.commit(nil); len(in) != 0 {
			t.Errorf("stored again: %+v", in)
		}
	})
}

// Nonces are forgotten after ten minutes, and there is a bound to them. // P10
func TestHuaweiNoncesAreBounded(t *testing.T) {
	var n nonces
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for i := range mostNonces {
		n.begin(strconv.Itoa(i), at)
		n.end(strconv.Itoa(i), true)
	}
	for _, c := range []struct {
		nonce string
		after time.Duration
		want  nonceState
	}{
		{"0", 0, nonceDone}, {"new", 0, nonceBusy}, {"new", nonceKept, nonceNew}, {"new", nonceKept, nonceBusy}, {"0", nonceKept, nonceNew},
	} {
		if got := n.begin(c.nonce, at.Add(c.after)); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
	if len(n.known) != 2 {
		t.Errorf("%d are known", len(n.known))
	}
}

// The bodies of one address, and of all together, have bounds. Other addresses go on until
// those of all are reached. // P10
func TestHuaweiBodiesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newPushKit(t)
		var answers []<-chan string
		whole := goodUplink + strings.Repeat(" ", huaweiBody-len(goodUplink))
		of := func(i int) string { return fmt.Sprintf("198.51.100.%d:1", i) }
		for i := range huaweiBodies / huaweiOfOne {
			for range huaweiOfOne / huaweiBody {
				answers = append(answers, k.uplinkFrom(of(i), time.Now(), "secret", whole))
			}
			synctest.Wait()
			if got := <-k.uplinkFrom(of(i), time.Now(), "secret", goodUplink); !strings.HasPrefix(got, "503 ") {
				t.Errorf("one more of the address: %s", got)
			}
		}
		if got := <-k.uplink(time.Now(), "secret", goodUplink); !strings.HasPrefix(got, "503 ") {
			t.Errorf("one more of another address: %s", got)
		}
		if in := k.inbox.commit(nil); len(in) != len(answers) {
			t.Errorf("%d came in", len(in))
		}
		for _, answer := range answers {
			if got := <-answer; !strings.HasPrefix(got, "200 ") {
				t.Error(got)
			}
		}
	})
}

// Strangers whose bodies come slowly do not keep Huawei out.
func TestHuaweiSlowBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newPushKit(t)
		var slow sync.WaitGroup
		body, strangers := io.Pipe()
		for range 100 {
			slow.Go(func() {
				k.paths.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, huaweiUplinkPath, body))
			})
		}
		synctest.Wait()
		good := k.uplink(time.Now(), "secret", goodUplink)
		synctest.Wait()
		k.inbox.commit(nil)
		if got := <-good; !strings.HasPrefix(got, "200 ") {
			t.Error(got)
		}
		strangers.Close()
		slow.Wait()
	})
}
