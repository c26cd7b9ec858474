package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/fcmsim"
)

// The simulator as a process has it: ready when it says so, a client takes its
// load, and an interrupt ends it with its books.
func TestSim(t *testing.T) {
	caFile := filepath.Join(t.TempDir(), "data", "sim-ca.pem")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, in := io.Pipe()
	root := rootCommand()
	root.SetOut(in)
	root.SetErr(io.Discard)
	root.SetArgs([]string{"sim", "--json", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ca-file", caFile,
		"--devices", "3", "--rate", "0", "--limit", "500", "--size", "300"})
	code := make(chan int, 1)
	go func() { code <- execute(ctx, root); in.Close() }()

	lines := json.NewDecoder(bufio.NewReader(out))
	var ready struct{ Event, CCS, HTTP, Run string }
	if err := lines.Decode(&ready); err != nil || ready.Event != "ready" {
		t.Fatalf("first line: %+v, %v", ready, err)
	}
	ca, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := measureCeiling(ctx, ceilingClient{
		Messages: 500, Addr: ready.CCS, SenderID: ccssim.DefaultSenderID, Key: ccssim.DefaultServerKey, CAPEM: ca,
	}); err != nil {
		t.Fatal(err)
	}
	response, err := http.Get(ready.HTTP + "/devices/device-3")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var device ccssim.DeviceReport
	if err := json.NewDecoder(response.Body).Decode(&device); err != nil || device.Sent != 166 {
		t.Errorf("device-3 sent %d (%v), want 166", device.Sent, err)
	}
	http.DefaultClient.CloseIdleConnections()

	interrupt()
	var end struct {
		Event  string
		Report ccssim.Report
	}
	if err := lines.Decode(&end); err != nil || end.Event != "end" || end.Report.Created != 500 {
		t.Errorf("last line: %s with %d made (%v), want end with 500", end.Event, end.Report.Created, err)
	}
	if got := <-code; got != 0 {
		t.Errorf("exit code %d", got)
	}
}

func TestSimUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	for args, says := range map[string]string{
		"--http 0.0.0.0:1":              "must be on this machine",
		"--http nowhere":                "missing port",
		"--ack-delay 1ms,2ms,3ms":       "has 3 values",
		"--window -1":                   "at least 1",
		"--devices -1":                  "devices: count",
		"--duplicates 2":                "probability",
		"--over-limit shout":            `"nack", "stop" or "close"`,
		"--keepalive often":             "want a time such as",
		"--category x unexpected1":      "one too many",
		"--quota 5":                     "--quota is for the FCM simulator: add --fcm",
		"--fcm --window 5":              "--window is for the CCS simulator: leave it out, or --fcm",
		"--fcm --devices 5":             "--devices is for the CCS simulator",
		"--fcm --http 0.0.0.0:1":        "must be on this machine",
		"--fcm --project X":             "want an id of 6 to 30",
		"--fcm --sender-id x":           "want the project's number",
		"--fcm --max-streams -1":        "at least 1",
		"--fcm --answer-delay 1s,2s,3s": "has 3 values",
	} {
		code, _, stderr := line(t, append([]string{"sim"}, strings.Fields(args)...)...)
		if code != exitUsage || !strings.Contains(stderr, says) {
			t.Errorf("sim %s: exit %d, %q; want %d and %q", args, code, stderr, exitUsage, says)
		}
	}
	if _, err := os.Stat("data"); err == nil {
		t.Error("a refused command line made files")
	}
}

// The FCM simulator as a process has it: ready when it says so, a sender trusts its
// CA and finds its key file, and an interrupt ends it with its books.
func TestSimFCM(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	caFile, keyFile := filepath.Join(dir, "sim-ca.pem"), filepath.Join(dir, "fcm-key.json")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, in := io.Pipe()
	root := rootCommand()
	root.SetOut(in)
	root.SetErr(io.Discard)
	root.SetArgs([]string{"sim", "--fcm", "--json", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ca-file", caFile, "--key-file", keyFile, "--quota", "2"})
	code := make(chan int, 1)
	go func() { code <- execute(ctx, root); in.Close() }()

	lines := json.NewDecoder(bufio.NewReader(out))
	var ready struct {
		Event, FCM, HTTP, Project string
		SenderID                  string `json:"sender_id"`
	}
	if err := lines.Decode(&ready); err != nil || ready.Event != "ready" {
		t.Fatalf("first line: %+v, %v", ready, err)
	}
	var key struct {
		Type     string
		TokenURI string `json:"token_uri"`
	}
	if b, err := os.ReadFile(keyFile); err != nil || json.Unmarshal(b, &key) != nil || key.Type != "service_account" || key.TokenURI != ready.FCM+"/token" {
		t.Errorf("key file: %+v, %v", key, err)
	}
	var token struct {
		Text string `json:"access_token"`
	}
	response, err := http.Get(ready.HTTP + "/token")
	if err != nil {
		t.Fatal(err)
	}
	err = json.NewDecoder(response.Body).Decode(&token)
	response.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	ca, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	for _, want := range []int{200, 200, 429} {
		request, err := http.NewRequest("POST", ready.FCM+"/v1/projects/"+ready.SenderID+"/messages:send", strings.NewReader(`{"message":{"token":"phone"}}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token.Text)
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want || response.ProtoMajor != 2 {
			t.Errorf("%s %s, want %d by HTTP/2", response.Proto, response.Status, want)
		}
	}
	transport.CloseIdleConnections()

	interrupt()
	var end struct {
		Event  string
		Report fcmsim.Report
	}
	if err := lines.Decode(&end); err != nil || end.Event != "end" || end.Report.Accepted != 2 || end.Report.ByStatus["429"] != 1 {
		t.Errorf("last line: %s with %+v (%v), want end with 2 accepted", end.Event, end.Report.Counts, err)
	}
	if got := <-code; got != 0 {
		t.Errorf("exit code %d", got)
	}
}
