package admin

import (
	"encoding/json"
	"strings"
	"testing"

	"balhost/host/internal/entry"
)

func TestState(t *testing.T) {
	h := &host{}
	s := serve(t, h, Options{})
	c := client(t, s, "")
	owners, err := c.StateOwners(t.Context())
	if err != nil || len(owners.Owners) != 2 || owners.Owners[0] != (entry.StateOwner{Plugin: "shop", Keys: 2, Bytes: 30}) || !owners.Owners[1].More {
		t.Errorf("owners %v: %v", owners, err)
	}
	page, err := c.State(t.Context(), "shop", "a&b", "a&c", 7)
	if err != nil || len(page.Items) != 1 || page.Items[0].Key != "a b" || page.Next != "a b" {
		t.Errorf("page %v: %v", page, err)
	}
	var value struct{ N int }
	if err := json.Unmarshal(page.Items[0].Value, &value); err != nil || value.N != 1 {
		t.Errorf("value %s: %v", page.Items[0].Value, err)
	}
	if h.spans[0] != (entry.Span{Prefix: "a&b", After: "a&c", Keys: 7, Bytes: maxBody}) {
		t.Errorf("asked for %+v", h.spans[0])
	}
	if code, body := get(t, s, "/v1/state/gone", nil); code != 200 || !strings.Contains(body, `"items": []`) {
		t.Errorf("a plugin without state: %d %s", code, body)
	}
	if item, err := c.StateValue(t.Context(), "shop", "a/b?"); err != nil || item.Key != "a/b?" {
		t.Errorf("one key: %v, %v", item, err)
	}
	if _, err := c.StateValue(t.Context(), "shop", ""); err == nil {
		t.Error("an empty key is there")
	}
	key := "k"
	if n, err := c.DeleteState(t.Context(), "shop", StateOrder{Key: &key}); err != nil || n != 3 || *h.deleted[0].Key != "k" {
		t.Errorf("deleted %d of %+v: %v", n, h.deleted, err)
	}
}
