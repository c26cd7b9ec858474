package admin

import (
	"strings"
	"testing"
)

func TestBindings(t *testing.T) {
	h := &host{}
	s := serve(t, h, Options{})
	c := client(t, s, "")
	for _, q := range []BindingQuery{
		{Session: "a b", User: "alice&bob", Limit: 7},
		{From: "f/1?", Limit: 1000},
		{After: "ann", Limit: 1},
	} {
		page, err := c.Bindings(t.Context(), q)
		if err != nil || page.Next != "bob" || page.Bindings == nil || h.queries[len(h.queries)-1] != q {
			t.Errorf("%+v: asked for %+v, got %+v: %v", q, h.queries, page, err)
		}
	}
	did, err := c.Unbind(t.Context(), UnbindOrder{From: []string{"a", "b"}})
	if err != nil || did.Done != 1 || len(did.Gone) != 1 || did.Gone[0] != "a" {
		t.Errorf("unbound %+v: %v", did, err)
	}
	if code, body := get(t, s, "/v1/bindings?user=a&from=b", nil); code != 400 || !strings.Contains(body, "either user or from") {
		t.Errorf("both: %d %s", code, body)
	}
	for _, from := range [][]string{nil, {""}, make([]string, maxPage+1)} {
		if _, err := c.Unbind(t.Context(), UnbindOrder{From: from}); err == nil || !strings.Contains(err.Error(), "give 1 to 1000 devices") {
			t.Errorf("%d devices: %v", len(from), err)
		}
	}
}
