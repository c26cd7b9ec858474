package fcmsim

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Devices send the receipts that their messages ask for, and upstreams, to the gateway, each
// in its own name. Sheet F, row 11.
func TestDevicesSendToTheGateway(t *testing.T) {
	var mu sync.Mutex
	var got []string
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var body struct {
			From, Category string
			MessageID      string `json:"message_id"`
			Data           json.RawMessage
			Receipts       []struct {
				From, Status string
				Original     string `json:"original_message_id"`
			}
		}
		json.Unmarshal(text, &body)
		mu.Lock()
		defer mu.Unlock()
		for _, one := range body.Receipts {
			got = append(got, strings.Join([]string{r.Header.Get("Authorization"), one.From, one.Original, one.Status}, " "))
		}
		if body.MessageID != "" {
			got = append(got, strings.Join([]string{body.From, body.Category, body.MessageID, string(body.Data)}, " "))
		}
		w.WriteHeader(http.StatusAccepted)
		json.NewEncoder(w).Encode(map[string]any{"results": []any{map[string]string{"message_id": body.MessageID, "status": "stored"}}})
	}))
	defer gateway.Close()
	s := newServer(t, Options{Gateway: &Gateway{URL: gateway.URL, Token: "secret"}})
	give(t, s, `{"token":"t1","data":{"bal_id":"d1","bal_receipt":"1"}}`)
	give(t, s, `{"token":"t1","data":{"bal_id":"d2"}}`)
	give(t, s, `{"topic":"news","data":{"bal_id":"d3","bal_receipt":"1"}}`)
	id, err := s.Upstream("t2", "com.example", map[string]string{"k": "v"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"Bearer secret t1 d1 MESSAGE_SENT_TO_DEVICE", "t2 com.example " + id + ` {"k":"v"}`}
	sofar := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Sorted(slices.Values(got))
	}
	for deadline := time.Now().Add(time.Minute); len(sofar()) < len(want) && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if now := sofar(); !slices.Equal(now, want) {
		t.Errorf("the gateway got %q, want %q", now, want)
	}
	if _, err := s.Upstream("", "com.example", nil); err == nil {
		t.Error("an upstream of nobody is taken")
	}
	if _, err := newServer(t, Options{}).Upstream("t", "c", nil); err == nil {
		t.Error("without a gateway an upstream is taken")
	}
}
