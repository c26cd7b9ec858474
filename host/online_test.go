package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/fcmsim"
)

// check --online asks the server of each session, and says of each whether it accepts
// it, and why not.
func TestCheckOnline(t *testing.T) { // P10
	t.Chdir(t.TempDir())
	ccs, err := ccssim.NewServer(ccssim.Options{CAFile: "ccs.pem"})
	if err != nil {
		t.Fatal(err)
	}
	defer ccs.Close()
	fcm, err := fcmsim.NewServer(fcmsim.Options{CAFile: "fcm.pem", KeyFile: "sa.json", SenderID: "739201846512"})
	if err != nil {
		t.Fatal(err)
	}
	defer fcm.Close()
	if err := os.Mkdir("plugins", 0o755); err != nil {
		t.Fatal(err)
	}
	config := func(key, number string) string {
		return fmt.Sprintf(`
session "main" {
  sender_id = "482915730064"
  ccs {
    address    = %q
    server_key = %q
    tls {
      ca_file     = "ccs.pem"
      server_name = "localhost"
    }
  }
}
session "phones" {
  sender_id = %q
  fcm_v1 {
    credentials = file("sa.json")
    endpoint    = %q
    ca_file     = "fcm.pem"
  }
}
`, ccs.Addr(), key, number, fcm.URL())
	}
	write(t, "config.hcl", config("simulator", "739201846512"), 0o600)
	code, out, said := line(t, "check")
	for _, want := range []string{"config.hcl is right: sessions 2", "up and down", "down only: nothing comes up through it", "firebase-adminsdk-sim@balhost-simulator.iam.gserviceaccount.com of project balhost-simulator", "not asked"} {
		if !strings.Contains(out, want) || code != 0 {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, out, said)
		}
	}
	if err := os.Chmod("sa.json", 0o644); err != nil {
		t.Fatal(err)
	}
	if _, out, _ := line(t, "check"); !strings.Contains(out, `note: session "phones": others on this machine can read its key file: chmod 600 `) {
		t.Errorf("a key file for all: %s", out)
	}
	if err := os.Chmod("sa.json", 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, said := line(t, "check", "--online"); code != 0 || strings.Contains(out, "chmod") || strings.Count(out, " accepted") != 2 {
		t.Errorf("exit %d\n%s%s", code, out, said)
	}
	if n := ccs.Counts().Logins; n != 1 {
		t.Errorf("%d logins", n)
	}

	write(t, "config.hcl", config("wrong", "1"), 0o600)
	code, out, said = line(t, "check", "--online", "--json")
	var f findings
	if err := json.Unmarshal([]byte(out), &f); err != nil || code != exitFailed || len(f.Sessions) != 2 {
		t.Fatalf("exit %d, %v\n%s%s", code, err, out, said)
	}
	for i, want := range []string{"check sender_id and server_key", "is sender_id the number of that project"} {
		if o := f.Sessions[i].Online; o == nil || o.Accepted || !strings.Contains(o.Reason, want) {
			t.Errorf("session %q: %+v, want …%s…", f.Sessions[i].Name, o, want)
		}
	}
	if !strings.Contains(said, `session "main": CCS does not accept it: `) || !strings.Contains(said, `session "phones": FCM does not accept it: `) {
		t.Errorf("it says %s", said)
	}

	ccs.Close()
	fcm.Close()
	code, out, said = line(t, "check", "--online")
	if code != exitFailed || strings.Count(out, " not reached") != 2 || !strings.Contains(out, "is right, but not every server accepts its session") {
		t.Errorf("exit %d, nobody listens:\n%s", code, out)
	}
	if !strings.Contains(said, `session "main": CCS is not reached: `) || !strings.Contains(said, `session "phones": FCM is not reached: `) {
		t.Errorf("nobody listens: %s", said)
	}
}
