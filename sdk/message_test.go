package sdk_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
	"testing"

	"balhost/sdk"
)

// "go doc" shows only the comment of an alias. So the comment must list the fields.
func TestAliasesNameTheirFields(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "message.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	comments := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			comments[spec.Name.Name] = spec.Doc.Text()
		}
		return true
	})
	for _, v := range []any{sdk.Upstream{}, sdk.Downstream{}, sdk.Checked{}, sdk.Options{}, sdk.Outcome{}, sdk.Receipt{}} {
		of := reflect.TypeOf(v)
		var fields []string
		for i := range of.NumField() {
			fields = append(fields, of.Field(i).Name)
		}
		said := strings.Join(strings.Fields(comments[of.Name()]), " ")
		if want := ": " + strings.Join(fields, ", ") + "."; !strings.Contains(said, want) {
			t.Errorf("%s: its comment %q lacks %q", of.Name(), said, want)
		}
	}
}
