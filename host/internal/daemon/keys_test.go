package daemon

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"balhost/host/internal/credential"
	"balhost/host/internal/gateway"
)

// Where a rule's public keys are: a file, a URL, or Google's own, and those of App Check.
func TestKeySets(t *testing.T) {
	check := &credential.AppCheck{ProjectNumber: "1"}
	for _, c := range []struct {
		rule credential.Rule
		want []string
	}{
		{credential.Rule{Kind: credential.Static}, nil},
		{credential.Rule{Kind: credential.HMAC, AppCheck: check}, []string{gateway.AppCheckJWKS}},
		{credential.Rule{Kind: credential.JWT, JWKS: "/keys.json"}, []string{"/keys.json"}},
		{credential.Rule{Kind: credential.Firebase}, []string{gateway.FirebaseJWKS}},
		{credential.Rule{Kind: credential.Firebase, JWKS: "/keys.json", AppCheck: &credential.AppCheck{JWKS: "https://keys"}}, []string{"/keys.json", "https://keys"}},
	} {
		var got []string
		for _, set := range KeySets(c.rule) {
			got = append(got, set.Where)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Error(diff)
		}
	}
}

// Keys are read from a file or fetched, and counted; what can't be used says why.
func TestKeySetsAreLoaded(t *testing.T) {
	const two = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},{"kty":"OKP","crv":"Ed25519","kid":"b","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			w.Write([]byte(two))
		case "/page":
			w.Write([]byte("<html>"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "good.json"), []byte(two), 0o600); err != nil {
		t.Fatal(err)
	}
	for where, want := range map[string]KeySet{
		server.URL + "/good?k=hunter2":   {Keys: 2},
		"https://127.0.0.1:1/?k=hunter2": {Problem: "connection refused"},
		server.URL + "/page":             {Problem: "JSON"},
		server.URL + "/none":             {Problem: "the server answered 404 Not Found"},
		"https://127.0.0.1:1/":           {Problem: "connection refused"},
		filepath.Join(dir, "good.json"):  {Keys: 2},
		filepath.Join(dir, "none.json"):  {Problem: "no such file or directory"},
	} {
		set := KeySets(credential.Rule{Kind: credential.JWT, JWKS: where})[0]
		set.Load(context.Background(), server.Client())
		if shown := fmt.Sprint(set, set.Where, set.Problem); strings.Contains(shown, "hunter2") {
			t.Error(shown)
		}
		if set.Keys != want.Keys || (set.Problem == "") != (want.Problem == "") || !strings.Contains(set.Problem, want.Problem) {
			t.Errorf("%s: %+v, want %+v", where, set, want)
		}
	}
}
