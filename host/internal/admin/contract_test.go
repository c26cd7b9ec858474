package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"balhost/host/internal/admin/audit"
)

// contract is a server with its document.
type contract struct {
	t        *testing.T
	api      api
	mux      *http.ServeMux
	full     bool                      // the host's functions answer with every field set; else with none
	end      func()                    // ends the request that runs
	steps    int                       // of tails
	paths    map[string]map[string]any // of the document: by path and method
	compiler *jsonschema.Compiler
}

// newContract makes a server, and reads its document. An answer must not have a field that the
// document leaves out: to clients it may.
func newContract(t *testing.T, full bool) *contract {
	c := &contract{t: t, full: full}
	log := audit.Open(t.TempDir(), hclog.NewNullLogger())
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- log.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	c.api = api{
		door: &door{tokens: noTokens}, Functions: c.functions(), audit: log,
		metrics: prometheus.NewRegistry(), log: hclog.NewNullLogger(), streams: newStreams(), crowd: &crowd{}, health: &health{},
	}
	c.mux = (&Server{api: c.api}).handler().(*http.ServeMux)
	w := c.ask(http.MethodGet, "/openapi.json", Read, "")
	read, err := jsonschema.UnmarshalJSON(bytes.NewReader(w.Body.Bytes()))
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %v", w.Code, err)
	}
	document := read.(map[string]any)
	for _, of := range document["components"].(map[string]any)["schemas"].(map[string]any) {
		if of := of.(map[string]any); of["additionalProperties"] == nil {
			of["additionalProperties"] = false
		}
	}
	c.paths = map[string]map[string]any{}
	for path, methods := range document["paths"].(map[string]any) {
		c.paths[path] = methods.(map[string]any)
	}
	c.compiler = jsonschema.NewCompiler()
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource("openapi.json", document); err != nil {
		t.Fatal(err)
	}
	return c
}

func (o operation) responses() map[string]any { return o.of["responses"].(map[string]any) }

// pointer is the place of a part of the operation in the document.
func (o operation) pointer(parts ...string) string {
	at := ""
	for _, part := range append([]string{"paths", o.path, strings.ToLower(o.method)}, parts...) {
		at += "/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(part)
	}
	return at
}

// answer is the place of the schema of an answer; "" if the document has none.
func (o operation) answer(code int, media string) string {
	name := fmt.Sprint(code)
	if o.responses()[name] == nil {
		name = "default"
	}
	of := o.responses()[name].(map[string]any)
	if of["$ref"] != nil {
		if media != jsonMedia {
			return ""
		}
		return strings.TrimPrefix(of["$ref"].(string), "#") + "/content/application~1json/schema"
	}
	if of["content"].(map[string]any)[media] == nil {
		return ""
	}
	return o.pointer("responses", name, "content", media, "schema")
}

// functions are those of a host that does all that it is asked to.
func (c *contract) functions() (f Functions) {
	for _, field := range reflect.ValueOf(&f).Elem().Fields() {
		field.Set(reflect.MakeFunc(field.Type(), func([]reflect.Value) (out []reflect.Value) {
			for of := range field.Type().Outs() {
				v := reflect.New(of).Elem()
				if c.full {
					fill(v, 0)
				}
				out = append(out, v)
			}
			return out
		}))
	}
	f.Backup = func(_ context.Context, w io.Writer, _ int64) error {
		_, err := io.WriteString(w, "a backup")
		return err
	}
	f.Tail = func(TailQuery) (Tailing, error) {
		one := &oneStep{ready: make(chan struct{}, 1), end: c.end}
		if c.full {
			one.ready <- struct{}{}
		} else {
			c.end()
		}
		return one, nil
	}
	return f
}

// oneStep is a tail of one step, which ends the request.
type oneStep struct {
	ready chan struct{}
	end   func()
}

func (o *oneStep) Ready() <-chan struct{} { return o.ready }
func (o *oneStep) Close()                 {}

func (o *oneStep) Take() (steps []Step, skipped uint64) {
	steps = make([]Step, 1)
	fill(reflect.ValueOf(&steps[0]).Elem(), 0)
	o.end()
	return steps, 1
}

// fill sets all that v has. A type that has itself in it ends a few levels down.
func fill(v reflect.Value, level int) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 12, 24, 18, 0, 0, 0, time.UTC)))
		return
	case json.RawMessage:
		v.SetBytes([]byte(`{"k":[1]}`))
		return
	}
	if level > 8 {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), level+1)
	case reflect.Struct:
		for _, field := range v.Fields() {
			if field.CanSet() {
				fill(field, level+1)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), level+1)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, level+1)
		fill(value, level+1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(1.5)
	default:
		switch {
		case v.CanInt():
			v.SetInt(1)
		case v.CanUint():
			v.SetUint(1)
		}
	}
}
