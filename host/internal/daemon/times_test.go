package daemon

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/admin"
)

// Every time in the status is told by the wall clock as it is set now: none is
// forgotten when the status gets another one.
func TestAllTimesAreTold(t *testing.T) {
	var st admin.Status
	visit(reflect.ValueOf(&st).Elem(), "status", func(_ string, at *time.Time) { *at = time.Now().Round(0) }) // without a monotonic reading
	tellTimes(&st, time.Now())
	found := 0
	visit(reflect.ValueOf(&st).Elem(), "status", func(name string, at *time.Time) {
		if found++; !strings.Contains(at.String(), " m=") {
			t.Errorf("%s is told as it was noted", name)
		}
	})
	if found < 15 {
		t.Errorf("found %d times only", found)
	}
}

// visit calls f for each time under v, and makes what leads to one.
func visit(v reflect.Value, name string, f func(string, *time.Time)) {
	if at, ok := v.Addr().Interface().(*time.Time); ok {
		f(name, at)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		visit(v.Elem(), name, f)
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		visit(v.Index(0), name, f)
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.Tag.Get("json") != "-" { // such a field is not in the answer
				visit(v.Field(i), name+"."+field.Name, f)
			}
		}
	}
}
