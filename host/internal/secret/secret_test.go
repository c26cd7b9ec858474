package secret

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// A secret is hidden in every form that a peer is likely to write.
func TestText(t *testing.T) {
	for _, key := range []string{"simulator", `AIza"Sy<&>'ü\x/+?=`, "four", strings.Repeat("k", 5000)} {
		s := New(key)
		for _, text := range []string{
			"%s", "not-authorized (wrong key %s for you)", "%[1]s%[1]s",
		} {
			if got := s.Text(fmt.Sprintf(text, key)); strings.Contains(got, key) || !strings.Contains(got, Hidden) {
				t.Errorf("%q: %q", key, got)
			}
		}
		for _, before := range []string{"", "\x00", "\x00482915730064@gcm.googleapis.com\x00", "1:", "22:"} {
			for _, after := range []string{"", "\n", "ab"} {
				for name, c := range map[string]*base64.Encoding{"std": base64.StdEncoding, "raw": base64.RawStdEncoding, "url": base64.URLEncoding} {
					got := s.Text("<auth>" + c.EncodeToString([]byte(before+key+after)) + "</auth>")
					if !strings.Contains(got, Hidden) || len(got) > len("<auth></auth>")+len(Hidden)+8+(len(before)+len(after))*4/3 {
						t.Errorf("%.20q in %s of %q: %q", key, name, before, got)
					}
				}
			}
		}
		if got := s.Text(fmt.Sprintf("%q", key)); got != `"`+Hidden+`"` {
			t.Errorf("quoted: %s", got)
		}
	}
	for _, none := range []*Set{nil, {}, New(), New("", "abc")} {
		if got := none.Text("abc"); got != "abc" {
			t.Errorf("%q", got)
		}
	}
	if got := New("pass", "password").Text("password, pass"); got != Hidden+", "+Hidden {
		t.Errorf("one that holds another: %q", got)
	}
}

// A text that was cut does not end with a part of a secret.
func TestStart(t *testing.T) {
	s := New("0123456789")
	for at := range 40 {
		for _, most := range []int{0, 5, 20, 30} {
			got := s.Start([]byte(strings.Repeat("0123456789", at%3)+strings.Repeat("x", at)+"0123456789"+strings.Repeat("y", 100)), most)
			if len(got) > most || strings.Contains(got, "01") {
				t.Errorf("%d, %d: %q", at, most, got)
			}
		}
	}
	if got := (*Set)(nil).Start([]byte("abcdef"), 3); got != "abc" {
		t.Errorf("%q", got)
	}
}
