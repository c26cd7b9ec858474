package ccs

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
)

// When only the certificate's date is wrong, our clock may be: the next try comes as
// soon as after a lost connection, and the error names the clock.
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
