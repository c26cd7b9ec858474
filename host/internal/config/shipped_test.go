package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const shipped = "../../../config.hcl"

func readShipped(t *testing.T) []byte {
	t.Helper()
	src, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// readManual is the shipped file with the session, the admin block's rest and the tracing
// block that are comments there, and with the files that it names.
func readManual(t *testing.T) (path string, src []byte) {
	t.Helper()
	lines := strings.Split(string(readShipped(t)), "\n")
	from, to := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "# session ") }), slices.Index(lines, "# }")
	if from < 0 || to < from {
		t.Fatal("no session is a comment")
	}
	admin := slices.Index(lines, "admin {")
	for i := admin; lines[i] != "}"; i++ {
		lines[i] = strings.TrimPrefix(lines[i], "#")
	}
	tracing := slices.Index(lines, "# tracing {")
	for i := tracing; lines[i] != ""; i++ {
		lines[i] = strings.TrimPrefix(strings.TrimPrefix(lines[i], "#"), " ")
	}
	for i := from; i <= to; i++ {
		lines[i] = strings.TrimPrefix(strings.TrimPrefix(lines[i], "#"), " ")
	}
	dir := t.TempDir()
	cert, key := certificate(t, "localhost")
	for name, text := range map[string]string{
		"service-account.json": keyFile(t), "tls.crt": cert, "tls.key": key, "admin.crt": cert, "admin.key": key, "admin-clients.pem": cert, "jwks.json": publicKeys(t),
		"gateway-master.key": "master secret of the test", "dev-1.key": "secret of one device", "huawei.key": "key of the callback",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "config.hcl"), []byte(strings.Join(lines, "\n"))
}

func noEnv(string) (string, bool) { return "", false }

// manualEnv has what the manual's examples take from the environment.
func manualEnv(name string) (string, bool) {
	return "a secret that is long enough", name == "GRAFANA_TOKEN" || name == "OTLP_TOKEN"
}

// The shipped file works as it is.
func TestShippedWorks(t *testing.T) {
	if _, err := Parse(shipped, readShipped(t), noEnv); err != nil {
		t.Error(err)
	}
}

// The shipped file is the manual, so it states every key that there is.
func TestShippedStatesEveryKey(t *testing.T) {
	later := []string{"plugin.adopts"}
	var want []string
	for _, key := range keys(reflect.TypeFor[file](), "") {
		if !slices.Contains(later, key) {
			want = append(want, key)
		}
	}
	var got []string
	_, src := readManual(t)
	for _, a := range attributes(t, src) {
		got = append(got, a.key)
	}
	got = slices.DeleteFunc(got, func(key string) bool { return key == "session.sender_id" }) // in both sessions
	got = append(got, "session.sender_id")
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys of config.hcl (-known to the code, +in the file):\n%s", diff)
	}
}

// Taking a key out of the shipped file changes nothing, unless the file calls
// its value an example: so the values that it states are the code's defaults.
func TestShippedStatesTheDefaults(t *testing.T) {
	path, src := readManual(t)
	all, err := Parse(path, src, manualEnv)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attributes(t, src) {
		t.Run(a.key, func(t *testing.T) {
			lines := strings.Split(string(src), "\n")
			_, comment, _ := strings.Cut(lines[a.line-1], "# ")
			lines[a.line-1] = ""
			without, err := Parse(path, []byte(strings.Join(lines, "\n")), manualEnv)
			same := err == nil && cmp.Equal(all, without)
			switch example := strings.HasPrefix(comment, "example"); {
			case !example && !same:
				t.Errorf("the file states another value than the default (%v):\n%s", err, cmp.Diff(all, without))
			case example && same:
				t.Errorf("called an example, but it is the default")
			case comment == "" && !strings.Contains(a.key, "_backoff."):
				t.Errorf("has no comment")
			}
		})
	}
}

type attribute struct {
	key  string
	line int
}

// attributes are the keys that a file states, in its order.
func attributes(t *testing.T, src []byte) (out []attribute) {
	t.Helper()
	f, diags := hclsyntax.ParseConfig(src, "config.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	var walk func(b *hclsyntax.Body, prefix string)
	walk = func(b *hclsyntax.Body, prefix string) {
		for name, a := range b.Attributes {
			out = append(out, attribute{prefix + name, a.NameRange.Start.Line})
		}
		for _, block := range b.Blocks {
			walk(block.Body, prefix+block.Type+".")
		}
	}
	walk(f.Body.(*hclsyntax.Body), "")
	slices.SortFunc(out, func(a, b attribute) int { return a.line - b.line })
	return out
}

// keys are the keys that the file structs know.
func keys(t reflect.Type, prefix string) (out []string) {
	for f := range t.Fields() {
		name, what, _ := strings.Cut(f.Tag.Get("hcl"), ",")
		switch what {
		case "optional":
			out = append(out, prefix+name)
		case "block":
			out = append(out, keys(f.Type.Elem(), prefix+name+".")...)
		}
	}
	return out
}
