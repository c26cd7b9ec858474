package daemon

import (
	"slices"
	"testing"

	"balhost/host/internal/admin"
	"balhost/host/internal/config"
)

// A reload takes changed tokens at once, and says which.
func TestReloadTakesTokens(t *testing.T) {
	before := config.Config{Admin: config.Admin{Token: "a", Tokens: []config.Token{{Name: "x", Role: "read", Secret: "1"}, {Name: "y", Role: "read", Secret: "2"}}}}
	now := config.Config{Admin: config.Admin{Tokens: []config.Token{{Name: "y", Role: "operate", Secret: "2"}, {Name: "z", Role: "admin", Secret: "3"}}}}
	if err := fixed(before, now); err != nil {
		t.Error(err)
	}
	changed := tokensChanged(before.Admin, now.Admin)
	if want := []string{"the admin token is removed", `the admin token "x" is removed`, `the admin token "y" is another one`, `the admin token "z" is added`}; !slices.Equal(changed, want) {
		t.Errorf("%q", changed)
	}
	h := &host{}
	for _, tc := range []struct {
		cfg  config.Config
		want []admin.Token
	}{
		{before, []admin.Token{{Role: admin.Admin, Secret: "a"}, {Name: "x", Role: admin.Read, Secret: "1"}, {Name: "y", Role: admin.Read, Secret: "2"}}},
		{now, []admin.Token{{Name: "y", Role: admin.Operate, Secret: "2"}, {Name: "z", Role: admin.Admin, Secret: "3"}}},
	} {
		h.follow(tc.cfg)
		if got := h.tokens(); !slices.Equal(got, tc.want) {
			t.Errorf("%+v", got)
		}
	}
	now.Admin.Listen = "elsewhere"
	if fixed(before, now) == nil {
		t.Error("admin.listen can't change while the host runs")
	}
}
