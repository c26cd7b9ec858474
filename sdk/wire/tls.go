package wire

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SocketDirVariable names the folder in which a plugin makes its socket. The folder is the
// process's alone. The host has put three files in PEM into it, so that a plugin need not
// make a certificate: a key in PKCS #8 with its certificate, and the host's own certificate,
// which is also in [HostCertVariable].
const (
	SocketDirVariable = "PLUGIN_UNIX_SOCKET_DIR"
	HostCertVariable  = "PLUGIN_CLIENT_CERT"

	KeyFile      = "plugin.key"
	CertFile     = "plugin.crt"
	HostCertFile = "host.crt"
)

// ServerTLS is a plugin's end of the mutual TLS, with the key and the certificate that its
// host made for this process. It is for go-plugin's ServeConfig.TLSProvider. A host that
// makes none gets nil: then go-plugin makes its own and sends the certificate in the handshake.
func ServerTLS() (*tls.Config, error) {
	dir := os.Getenv(SocketDirVariable)
	if dir == "" {
		return nil, nil
	}
	own, err := tls.LoadX509KeyPair(filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read the certificate that the host made: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, HostCertFile))
	if err != nil {
		return nil, fmt.Errorf("read the host's certificate: %w", err)
	}
	host := x509.NewCertPool()
	if !host.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the host's certificate: %s holds none", filepath.Join(dir, HostCertFile))
	}
	return &tls.Config{
		Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: host,
	}, nil
}
