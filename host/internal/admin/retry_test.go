package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestRetries(t *testing.T) {
	h := &host{}
	for i := range 150 {
		h.retries = append(h.retries, Retry{ID: fmt.Sprint(i), Plugin: "echo"})
	}
	s := serve(t, h, Options{})
	c := client(t, s, "")
	page, err := c.Retries(t.Context(), "", 2)
	if err != nil || len(page.Retries) != 2 || page.Total != 150 {
		t.Errorf("%+v, %v", page, err)
	}
	for _, o := range []RetryOrder{{IDs: []string{"1", "2"}}, {Plugin: "echo"}, {All: true}} {
		if n, err := c.RetryNow(t.Context(), o); n.Done != 7 || err != nil {
			t.Errorf("%+v: %v, %v", o, n, err)
		}
	}
	if len(h.tried) != 3 || !slices.Equal(h.tried[0].IDs, []string{"1", "2"}) || h.tried[1].Plugin != "echo" || !h.tried[2].All {
		t.Errorf("%+v", h.tried)
	}
	for path, body := range map[string]string{
		"/v1/retries?limit=0": "", "/v1/retries?limit=x": "",
		"/v1/retries/now": `{}`, "/v1/retries/now#2": `{"all":true,"plugin":"echo"}`, "/v1/retries/now#3": `{"id":"1"}`,
	} {
		method := http.MethodGet
		if body != "" {
			method = http.MethodPost
		}
		request, err := http.NewRequest(method, "http://"+s.Addr()+strings.Split(path, "#")[0], strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("%s %s: %s", path, body, response.Status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
