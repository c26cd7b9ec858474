package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// bodies are right ones, of the paths that take one.
var bodies = map[string]string{
	"POST /v1/messages":                 `{"token": "t", "data": {"k": "v"}, "time_to_live": 60, "not_before": "2026-12-24T18:00:00Z"}`,
	"POST /v1/messages/cancel":          `{"ids": ["1"]}`,
	"POST /v1/dead/import":              `{"letters": [{"id": "1", "kind": "upstream", "reason": "r", "died": "2026-12-24T18:00:00Z", "received": "2026-12-24T18:00:00Z", "attempts": 1, "session": "s", "sender_id": "1", "event": "AAAA"}], "check": true}`,
	"POST /v1/dead/replay":              `{"ids": ["1"]}`,
	"POST /v1/dead/delete":              `{"ids": ["1"]}`,
	"POST /v1/state/{plugin}/delete":    `{"key": "k"}`,
	"POST /v1/bindings/delete":          `{"from": ["t"]}`,
	"POST /v1/stuck/giveup":             `{"id": "1"}`,
	"POST /v1/erase":                    `{"device": "t"}`,
	"POST /v1/plugins/{name}/forget":    `{"plan": true}`,
	"POST /v1/retries/now":              `{"all": true}`,
	"POST /v1/pauses":                   `{"plugin": "p"}`,
	"POST /v1/pauses/resume":            `{"session": "s"}`,
	"POST /v1/plugins/{name}/log-level": `{"level": "debug"}`,
	"POST /v1/reload":                   `{"plugin": "p"}`,
}

// Every path of /openapi.json does what stands there, whether the host has nothing to tell or
// all that it can: with a right request, an unknown parameter, an unknown field, a wrong value,
// and too low a role. Each answer is what the document says, no field of it is left out there.
func TestDocumentHolds(t *testing.T) {
	for _, full := range []bool{false, true} {
		c := newContract(t, full)
		for path, methods := range c.paths {
			for method, op := range methods {
				o := operation{contract: c, pattern: strings.ToUpper(method) + " " + path, of: op.(map[string]any)}
				o.method, o.path, _ = strings.Cut(o.pattern, " ")
				o.target = wildcards.ReplaceAllString(o.path, "x")
				if strings.HasPrefix(o.path, "/debug/pprof/") {
					o.target += "?seconds=1" // else a profile takes longer
				}
				o.right()
				o.wrong()
				o.roles()
				o.query()
			}
		}
	}
}

// The document has every path of the server, and the server every path of the document.
func TestDocumentHasEveryPath(t *testing.T) {
	c := newContract(t, false)
	var documented, served []string
	for path, methods := range c.paths {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r := httptest.NewRequest(method, wildcards.ReplaceAllString(path, "x"), nil)
			_, there := methods[strings.ToLower(method)]
			if _, pattern := c.mux.Handler(r); there != (pattern == method+" "+path) {
				t.Errorf("%s %s: in the document %v, but the server has %q", method, path, there, pattern)
			}
		}
		for method := range methods {
			documented = append(documented, strings.ToUpper(method)+" "+path)
		}
	}
	for _, to := range c.api.routes() {
		served = append(served, to.pattern)
	}
	slices.Sort(documented)
	slices.Sort(served)
	if !slices.Equal(documented, served) {
		t.Errorf("the document has\n%s\nthe server has\n%s", documented, served)
	}
	if w := c.ask(http.MethodGet, "/openapi.json", Anyone, ""); w.Code != http.StatusUnauthorized {
		t.Errorf("without a role: %d", w.Code)
	}
}

// operation is one method of a path of the document.
type operation struct {
	*contract
	pattern, method, path, target string
	of                            map[string]any
}

// right sends requests that are right.
func (o operation) right() {
	body := o.of["requestBody"]
	if body == nil {
		o.check(o.target, Admin, "", 200, 503)
		return
	}
	right := bodies[o.pattern]
	if right == "" {
		o.t.Errorf("%s: bodies has none for it", o.pattern)
		return
	}
	if err := o.valid(o.pointer("requestBody", "content", jsonMedia, "schema"), []byte(right)); err != nil {
		o.t.Errorf("%s: the document refuses %s: %v", o.pattern, right, err)
	}
	o.check(o.target, Admin, right, 200)
	if body.(map[string]any)["required"] == true {
		o.check(o.target, Admin, "", 400)
	} else {
		o.check(o.target, Admin, "", 200)
	}
}

// wrong sends a parameter and a field that are not in the document.
func (o operation) wrong() {
	if _, ok := o.responses()["400"]; ok {
		o.check(o.target+"?nothing=1", Admin, bodies[o.pattern], 400)
	}
	if o.of["requestBody"] == nil {
		return
	}
	wrong := strings.Replace(bodies[o.pattern], "{", `{"nothing": 1, `, 1)
	if o.valid(o.pointer("requestBody", "content", jsonMedia, "schema"), []byte(wrong)) == nil {
		o.t.Errorf("%s: the document takes %s", o.pattern, wrong)
	}
	o.check(o.target, Admin, wrong, 400)
}

// roles sends what lower roles may not.
func (o operation) roles() {
	need := roleOf(o.of)
	if secure := len(o.of["security"].([]any)) > 0; secure != (need > Anyone) {
		o.t.Errorf("%s: security and the role %s", o.pattern, need)
	}
	for role := Anyone; role < need; role++ {
		o.check(o.target, role, bodies[o.pattern], denied(role))
	}
}

// query sends each parameter with a right and a wrong value, and to too low a role.
func (o operation) query() {
	for i, of := range o.of["parameters"].([]any) {
		p := of.(map[string]any)
		if p["in"] != "query" {
			continue
		}
		name, need := p["name"].(string), roleOf(p)
		right, wrong := samples(p["schema"].(map[string]any))
		o.check(o.target+"?"+name+"="+right, need, bodies[o.pattern], 200)
		if wrong != "" {
			o.check(o.target+"?"+name+"="+wrong, need, bodies[o.pattern], 400)
		}
		if need > roleOf(o.of) {
			o.check(o.target+"?"+name+"="+right, need-1, bodies[o.pattern], denied(need-1))
		}
		if right == "" {
			o.t.Errorf("%s: no value for parameter %d, %s", o.pattern, i, name)
		}
	}
}

// check sends a request. The answer must have one of the codes, and be as the document says.
func (o operation) check(target string, role Role, body string, codes ...int) {
	o.t.Helper()
	w := o.ask(o.method, target, role, body)
	if !slices.Contains(codes, w.Code) {
		o.t.Errorf("%s %s as %s with %.200s: %d, want %v: %s", o.method, target, role, body, w.Code, codes, w.Body)
		return
	}
	media, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
	at := o.answer(w.Code, media)
	if at == "" {
		o.t.Errorf("%s %s: %d with %s is not in the document", o.method, target, w.Code, media)
		return
	}
	var err error
	switch media {
	case jsonMedia:
		err = o.valid(at, w.Body.Bytes())
	case "text/event-stream":
		for event := range bytes.SplitSeq(w.Body.Bytes(), []byte("\n\n")) {
			if data, ok := bytes.CutPrefix(event, []byte("event: step\ndata: ")); ok && err == nil {
				o.steps++
				err = o.valid(strings.TrimSuffix(at, "schema")+"x-event-data", data)
			}
		}
		if o.full && o.steps == 0 {
			o.t.Errorf("no step in %s", w.Body)
		}
	}
	if err != nil {
		o.t.Errorf("%s %s: %d: the document says otherwise: %v\n%s", o.method, target, w.Code, err, w.Body)
	}
}

// valid says why a JSON text is not as the schema at that place of the document.
func (c *contract) valid(at string, text []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	compiled, err := c.compiler.Compile("openapi.json#" + at)
	if err != nil {
		return err
	}
	return compiled.Validate(value)
}

// ask sends a request as a caller with that role.
func (c *contract) ask(method, target string, role Role, body string) *httptest.ResponseRecorder {
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	c.end = cancel
	r := httptest.NewRequest(method, target, strings.NewReader(body)).WithContext(ctx)
	w := httptest.NewRecorder()
	c.mux.ServeHTTP(w, caller{role: role}.with(r))
	return w
}

func denied(role Role) int {
	if role == Anyone {
		return http.StatusUnauthorized
	}
	return http.StatusForbidden
}

// roleOf is the role that the document gives to a path or a parameter.
func roleOf(of map[string]any) Role {
	name, _ := of["x-role"].(string)
	return Role(slices.Index(roleNames, name))
}

// samples are values that a schema takes and refuses; "" if it takes all.
func samples(of map[string]any) (right, wrong string) {
	switch {
	case of["enum"] != nil:
		return of["enum"].([]any)[0].(string), "nothing"
	case of["type"] == "array":
		one, _ := samples(of["items"].(map[string]any))
		return one + "," + one, one + ",nothing"
	case of["type"] == "integer":
		return of["maximum"].(json.Number).String(), of["maximum"].(json.Number).String() + "0"
	case of["type"] == "boolean":
		return "true", "yes"
	case of["format"] == "date-time":
		return "2026-12-24T18:00:00Z", "yesterday"
	case of["pattern"] != nil:
		return "1h30m", "soon"
	}
	return "x", ""
}
