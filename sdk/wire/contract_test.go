package wire

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

var update = flag.Bool("update", false, "take what was added to the contract into testdata/contract.txt")

const contractFile = "testdata/contract.txt"

// contract is all of plugin.proto that crosses the wire, one thing a line.
func contract() (lines []string) {
	file := File_balhost_plugin_v1_plugin_proto
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	add("package %s", file.Package())
	for i := range file.Services().Len() {
		s := file.Services().Get(i)
		for j := range s.Methods().Len() {
			m := s.Methods().Get(j)
			add("rpc %s.%s(%s) returns (%s)", s.Name(), m.Name(), streamed(m.IsStreamingClient(), m.Input()), streamed(m.IsStreamingServer(), m.Output()))
		}
	}
	var messages func(all protoreflect.MessageDescriptors)
	enums := func(all protoreflect.EnumDescriptors) {
		for i := range all.Len() {
			for j := range all.Get(i).Values().Len() {
				v := all.Get(i).Values().Get(j)
				add("%s: %s = %d", short(all.Get(i)), v.Name(), v.Number())
			}
		}
	}
	messages = func(all protoreflect.MessageDescriptors) {
		for i := range all.Len() {
			m := all.Get(i)
			for j := range m.Fields().Len() {
				add("%s: %s", short(m), field(m.Fields().Get(j)))
			}
			if m.Fields().Len() == 0 {
				add("%s: empty", short(m))
			}
			enums(m.Enums())
			messages(m.Messages())
		}
	}
	enums(file.Enums())
	messages(file.Messages())
	return lines
}

func streamed(is bool, m protoreflect.MessageDescriptor) string {
	if is {
		return "stream " + short(m)
	}
	return short(m)
}

func field(f protoreflect.FieldDescriptor) string {
	kind := f.Kind().String()
	if f.Message() != nil {
		kind = short(f.Message())
	} else if f.Enum() != nil {
		kind = short(f.Enum())
	}
	if one := f.ContainingOneof(); one != nil && !one.IsSynthetic() {
		kind = "oneof " + string(one.Name()) + " " + kind
	} else if f.HasOptionalKeyword() || f.IsList() {
		kind = f.Cardinality().String() + " " + kind
	}
	return fmt.Sprintf("%s %s = %d", kind, f.Name(), f.Number())
}

func short(d protoreflect.Descriptor) string {
	return strings.TrimPrefix(string(d.FullName()), string(d.ParentFile().Package())+".")
}

// What plugins were built with stays: no field, enum value or call is removed, renumbered,
// renamed or given another type. testdata/contract.txt is what is promised.
func TestContractOnlyGrows(t *testing.T) {
	text, err := os.ReadFile(contractFile)
	if err != nil {
		t.Fatal(err)
	}
	promised, is := strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' }), contract()
	for _, broken := range without(promised, is) {
		t.Errorf("plugins that are there rely on this, and plugin.proto has it no more:\n\t%s\nput it back, and add a new field beside it", broken)
	}
	added := without(is, promised)
	switch {
	case len(added) == 0 || t.Failed():
	case *update:
		if err := os.WriteFile(contractFile, []byte(strings.Join(is, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("new in plugin.proto:\n\t%s\nIf this shall stay for good, run: go test ./sdk/wire -run TestContractOnlyGrows -update", strings.Join(added, "\n\t"))
	}
}

// without is the lines of all that are not in others.
func without(all, others []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(line string) bool { return slices.Contains(others, line) })
}

// The check sees each way to break plugins.
func TestContractCheckSees(t *testing.T) {
	is := contract()
	for was, change := range map[string]string{
		"removed":     "string id = 77",
		"renumbered":  "Upstream: string id = 2",
		"retyped":     "Upstream: bytes id = 1",
		"repeated":    "Upstream: repeated string id = 1",
		"its oneof":   "Delivery: Upstream upstream = 4",
		"enum value":  "Result.Code: DONE = 0",
		"call":        "rpc Plugin.Session(HostFrame) returns (stream PluginFrame)",
		"its message": "rpc Plugin.Describe(ConfigureRequest) returns (Manifest)",
	} {
		if slices.Contains(is, change) {
			t.Errorf("%s: %q is the contract", was, change)
		}
	}
	for _, line := range []string{
		"package balhost.plugin.v1", "Upstream: string id = 1", "Delivery: oneof event Upstream upstream = 4", "PluginFrame: repeated Result result = 2",
		"Options: optional int64 ttl_s = 1", "Result.Code: UNSPECIFIED = 0", "Result: Result.Code code = 2",
		"rpc Plugin.Session(stream HostFrame) returns (stream PluginFrame)",
	} {
		if !slices.Contains(is, line) {
			t.Errorf("the contract has no %q", line)
		}
	}
}

// reserved are words that a generator would have to rename, in the form in which it writes
// fields: as they are, or in camelCase. C# writes them with a capital, and has no such words.
var reserved = map[string]string{
	"Python":                    "False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield match case self",
	"Java":                      "abstract assert boolean break byte case catch char class const continue default do double else enum extends final finally float for goto if implements import instanceof int interface long native new package private protected public return short static strictfp super switch synchronized this throw throws transient try void volatile while true false null record var yield sealed permits",
	"JavaScript and TypeScript": "arguments await break case catch class const constructor continue debugger default delete do else enum eval export extends false finally for function if implements import in instanceof interface let new null package private protected prototype public return static super switch this throw true try typeof var void while with yield toString valueOf hasOwnProperty",
	"Rust":                      "as async await box break const continue crate do dyn else enum extern false final fn for gen if impl in let loop macro match mod move mut override priv pub ref return self static struct super trait true try type typeof unsafe unsized use virtual where while yield abstract become union",
	"Swift":                     "associatedtype class deinit enum extension fileprivate func import init inout internal let open operator private precedencegroup protocol public rethrows static struct subscript typealias var break case catch continue default defer do else fallthrough for guard if in repeat return throw switch where while Any as await false is nil self super throws true try async",
	"Kotlin":                    "as break class continue do else false for fun if in interface is null object package return super this throw true try typealias typeof val var when while",
	"C++":                       "alignas auto bool delete explicit export friend inline mutable namespace new operator register signed sizeof template typename union unsigned using volatile wchar_t",
}

func TestNoNameIsReserved(t *testing.T) {
	for _, line := range contract()[1:] {
		before, _, _ := strings.Cut(line, " = ")
		name := before[strings.LastIndex(before, " ")+1:]
		for language, words := range reserved {
			if slices.Contains(strings.Fields(words), name) || slices.Contains(strings.Fields(words), camel(name)) {
				t.Errorf("%s: %q is a word of %s", line, name, language)
			}
		}
	}
}

// camel is how most generators write a field's name.
func camel(name string) string {
	words := strings.Split(name, "_")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}
