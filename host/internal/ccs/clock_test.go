package ccs

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
)

// A certificate that is wrong by its date alone may be right when the clock is:
// it is tried again as a lost connection is, and the clock is named.
func TestWrongDateMayBeTheClock(t *testing.T) {
	for _, c := range []struct {
		err     error
		refused bool
		says    string
	}{
		{x509.CertificateInvalidError{Reason: x509.Expired, Detail: "current time 1970"}, false, "check this machine's clock"},
		{x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}, true, "check tls.server_name and tls.ca_file"},
		{x509.UnknownAuthorityError{}, true, "check tls.server_name and tls.ca_file"},
	} {
		err := fmt.Errorf("connect: %w", &TrustError{Address: "a:1", Expected: "a", Presented: "b", Err: c.err})
		if denies(err) != c.refused || !strings.Contains(err.Error(), c.says) {
			t.Errorf("refused %v: %v", denies(err), err)
		}
	}
}
