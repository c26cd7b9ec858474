package main

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A certificate that is not trusted ends the command at once, with what to do.
func TestDeviceOfAnUntrustedGateway(t *testing.T) {
	gateway := httptest.NewUnstartedServer(http.NotFoundHandler())
	gateway.Config.ErrorLog = log.New(io.Discard, "", 0)
	gateway.StartTLS()
	defer gateway.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: gateway.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	named := strings.Replace(gateway.URL, "127.0.0.1", "localhost", 1) // the certificate is not for this name
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"send", "--url", gateway.URL, "--token", "t", "--from", "a", "k=v"}, "give the CA of its certificate with --ca-file"},
		{[]string{"listen", "--url", gateway.URL, "--token", "t", "--from", "a"}, "give the CA of its certificate with --ca-file"},
		{[]string{"send", "--url", named, "--ca-file", ca, "--token", "t", "--from", "a", "k=v"}, "let --url have the name that the certificate is for"},
	} {
		cmd := deviceCommand()
		cmd.SetArgs(c.args)
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.args, err)
		}
	}
}
