package route

import (
	"slices"
	"testing"
)

func nobody(string) string { return "" }

func TestOwner(t *testing.T) {
	recorded := func(owners map[string]string) func(string) string {
		return func(c string) string { return owners[c] }
	}
	tests := []struct {
		name     string
		claims   []Claim
		recorded map[string]string
		category string
		want     string
	}{
		{"claimed", []Claim{{Plugin: "echo", Categories: []string{"a"}}}, nil, "a", "echo"},
		{"unclaimed", []Claim{{Plugin: "echo", Categories: []string{"a"}}}, nil, "b", ""},
		{"any", []Claim{{Plugin: "rest", Categories: []string{"*"}}}, nil, "b", "rest"},
		{"no category goes to any", []Claim{{Plugin: "rest", Categories: []string{"*"}}}, nil, "", "rest"},
		{"no category, no any", []Claim{{Plugin: "echo", Categories: []string{"a"}}}, nil, "", ""},
		{"first by name", []Claim{{Plugin: "z", Categories: []string{"a"}}, {Plugin: "b", Categories: []string{"a"}}}, nil, "a", "b"},
		{"owner so far beats name", []Claim{{Plugin: "z", Categories: []string{"a"}}, {Plugin: "b", Categories: []string{"a"}}}, map[string]string{"a": "z"}, "a", "z"},
		{"config beats owner so far", []Claim{{Plugin: "z", Categories: []string{"a"}}, {Plugin: "b", Categories: []string{"a"}, FromConfig: true}}, map[string]string{"a": "z"}, "a", "b"},
		{"absent owner keeps it from any", []Claim{{Plugin: "rest", Categories: []string{"*"}}}, map[string]string{"a": "gone"}, "a", "gone"},
		{"owner that gave it up", []Claim{{Plugin: "rest", Categories: []string{"*"}}, {Plugin: "echo", Categories: []string{"b"}}}, map[string]string{"a": "echo"}, "a", "rest"},
		{"absent any", nil, map[string]string{"*": "rest"}, "a", "rest"},
		{"absent owner loses to a claim", []Claim{{Plugin: "new", Categories: []string{"a"}}}, map[string]string{"a": "gone"}, "a", "new"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := NewTable(tt.claims, recorded(tt.recorded)).Owner(tt.category); got != tt.want {
				t.Errorf("Owner(%q) = %q, want %q", tt.category, got, tt.want)
			}
		})
	}
}

func TestLosersAreNamed(t *testing.T) {
	table := NewTable([]Claim{{Plugin: "z", Categories: []string{"a"}}, {Plugin: "b", Categories: []string{"a", "a"}}}, nobody)
	if want := []Loss{{Category: "a", Loser: "z", Winner: "b"}}; !slices.Equal(table.Losses(), want) {
		t.Errorf("Losses() = %v, want %v", table.Losses(), want)
	}
}

func TestLane(t *testing.T) {
	const device = 7
	lane := func(order, payload string) (uint64, bool) {
		o, err := ParseOrder(order)
		if err != nil {
			t.Fatal(err)
		}
		if o.String() != order {
			t.Errorf("ParseOrder(%q).String() = %q", order, o)
		}
		return o.Lane(device, []byte(payload))
	}
	red, ok := lane("key:data.room", `{"data":{"room":"red"}}`)
	if !ok || red == device {
		t.Fatalf("a key makes its own lane, got %d, %v", red, ok)
	}
	for payload, same := range map[string]bool{
		`{"data":{"room":"red","n":"2"}}`: true,
		`{"data":{"room":"\u0072ed"}}`:    true,
		`{"data":{"room":"blue"}}`:        false,
		`{"data":{"room":5}}`:             false,
		`{"room":"red"}`:                  false,
		`{"data":{"room":{"id": 1}}}`:     false,
	} {
		if got, _ := lane("key:data.room", payload); (got == red) != same {
			t.Errorf("%s: in the lane of red: %v, want %v", payload, got == red, same)
		}
	}
	for _, payload := range []string{`{}`, `{"data":null}`, `{"data":{"room":null}}`, `{"data":"text"}`, `broken`} {
		if got, ok := lane("key:data.room", payload); got != device || !ok {
			t.Errorf("%s: lane %d, %v; want the device's", payload, got, ok)
		}
	}
	if got, ok := lane("device", `{}`); got != device || !ok {
		t.Errorf("device: %d, %v", got, ok)
	}
	if _, ok := lane("none", `{}`); ok {
		t.Error("none: has a lane")
	}
}

func TestParseOrderErrors(t *testing.T) {
	for _, s := range []string{"room", "key:", "key:a..b", "Device"} {
		if _, err := ParseOrder(s); err == nil {
			t.Errorf("ParseOrder(%q): no error", s)
		}
	}
}

// What a person reads as the name of a lane names it, whatever JSON value it was.
func TestNamedLanes(t *testing.T) {
	order, err := ParseOrder("key:data.room")
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{`"lobby"`, `"17"`, `17`, `true`, `"true"`, `{"a": 1}`, `[1, 2]`, `""`, `"\u0061\"b"`, `"a b"`} {
		payload := []byte(`{"data":{"room":` + value + `}}`)
		lane, _ := order.Lane(1, payload)
		if name := order.Name("", payload); !slices.Contains(Named(name), lane) {
			t.Errorf("%s is shown as %q, and that does not name its lane", value, name)
		}
	}
	if slices.Contains(Named("lobby"), Named("Lobby")[0]) || len(Named("lobby")) != 1 || len(Named("17")) != 2 {
		t.Errorf("%v %v", Named("lobby"), Named("17"))
	}
}
