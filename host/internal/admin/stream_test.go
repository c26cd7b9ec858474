package admin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A stream of a caller whose token is taken away ends at the next beat, and says why.
func TestStreamEndsWithItsToken(t *testing.T) {
	may := true
	r := caller{who: "night", role: Read, still: func() bool { return may }}.with(httptest.NewRequest("GET", "/v1/tail", nil))
	w := httptest.NewRecorder()
	s := newStreams().begin(w, r)
	defer s.close()
	if s.alive(); s.flush() != nil {
		t.Fatal("it ended while the token was valid")
	}
	may = false
	if s.alive(); !errors.Is(s.flush(), errDenied) {
		t.Error("it goes on without a token")
	}
	if !strings.Contains(w.Body.String(), "event: end\ndata: {\"reason\":\"the token is not valid any more") {
		t.Errorf("its end is not told: %q", w.Body)
	}
}

// The guard asks the door anew: a login that has ended, or a token that has gone, counts.
func TestCallersAreAskedAgain(t *testing.T) {
	tokens := []Token{{Name: "night", Role: Read, Secret: "a-secret-of-some-length"}}
	var got caller
	g := guard{&door{tokens: func() []Token { return tokens }}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = callerOf(r) })}
	r := httptest.NewRequest("GET", "/v1/tail", nil)
	r.Header.Set("Authorization", "Bearer a-secret-of-some-length")
	g.ServeHTTP(httptest.NewRecorder(), r)
	if got.role != Read || !got.still() {
		t.Fatalf("the token is not taken: %+v", got)
	}
	tokens = []Token{{Name: "day", Role: Admin, Secret: "another-secret-of-length"}}
	if got.still() {
		t.Error("a token that is gone still counts")
	}
}
