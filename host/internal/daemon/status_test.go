package daemon

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"testing"
	"time"

	"balhost/host/internal/ccs"
	"balhost/host/internal/config"
	"balhost/host/internal/credential"
	"balhost/host/internal/dispatch"
	"balhost/host/internal/entry"
	"balhost/host/internal/fcmv1"
	"balhost/host/internal/gateway"
	"balhost/host/internal/latency"
	"balhost/host/internal/ledger"
	"balhost/host/internal/outbox"
	"balhost/host/internal/pluginhost"
	"balhost/host/internal/status"
	"balhost/sdk/outlet"
)

var update = flag.Bool("update", false, "write testdata/status.json anew")

// The JSON of GET /v1/status is a contract. What each part says of itself is in it,
// under the key that testdata/status.json shows; what has nothing to say is absent.
func TestStatusJSON(t *testing.T) {
	at := func(second int) time.Time { return time.Date(2026, 1, 2, 3, 4, second, 0, time.UTC) }
	h := &host{o: Options{Version: "v", LogStats: func() outlet.Stats {
		return outlet.Stats{Dropped: 1, Failed: 2, Err: errors.New("log error"), Writing: at(1)}
	}}}
	h.follow(config.Config{Sessions: []config.Session{{Name: "main", SenderID: "100"}, {Name: "phones", SenderID: "400"}}, Ledger: config.Ledger{DiskSoft: 3}})
	full := &look{
		dispatch: dispatch.Status{
			Plugins: []dispatch.PluginStatus{
				{
					Name: "both", Work: status.Work{Paused: true, PausedSince: at(33), PausedDevices: []status.PausedDevice{{Device: "device", Session: "100", Since: at(34)}}, Order: "device", Lost: []string{"lost"}, LostTo: []string{"owner"}, Pending: 11, Oldest: at(30), HandlingP50: 35.5, HandlingP99: 36.5, Waiting: 12, NextTry: at(2), LastTry: at(3),
						InFlight: 13, Lanes: 14, Stuck: 15, StuckHandlers: []status.StuckHandler{{Event: "event", Kind: "upstream", Device: "device", Category: "category", Started: at(4), Behind: 37, GivenUp: at(35)}},
						Suspects: 16, LastFailure: "failure", LastFailureAt: at(5), Troubles: []status.Trouble{{Reason: "failure", Again: 38, Ended: 39, First: at(36), Last: at(37)}}, Handled: 17, Retried: 18, Died: 19, Rate: 20.5,
						Reruns: 21, RerunKey: "key", RerunAt: at(6), Turns: 22},
				},
				{Name: "absent", Work: status.Work{Pending: 23}},
				{Name: "nothing"},
			},
			Holding: []status.Holding{{Category: "category", Pending: 24, Since: at(7)}},
			More:    status.Rest{Categories: 25, Pending: 26},
			Recent:  []status.Recent{{At: at(8), Plugin: "plugin", Kind: "receipt", End: "handled", Category: "category"}},
		},
		plugins: []pluginhost.Status{
			{
				Name: "both", Process: status.Process{State: pluginhost.Backoff, Reason: "reason", Version: "1", SHA256: "sum", PID: 31, Started: at(9), NextStart: at(10), Restarts: 32,
					Categories: []string{"category"}, Candidate: "candidate", Probation: at(11), Previous: []string{"previous"}, Pinned: true, Memory: 33,
					RunFailure: &status.RunFailure{Failures: 34, Error: "run", At: at(12), Next: at(13)},
					Refusal:    &status.Refusal{SHA256: "refused", Reason: "why", At: at(14), Tried: true, Again: at(15)}},
			},
			{Name: "idle", Process: status.Process{State: pluginhost.Running}},
		},
		ignored: map[string]string{"ignored": "not a program", "both": "never shown"},
		sessions: []status.Session{
			tellCCS(ccs.Status{
				Name: "main", SenderID: "100", Address: "ccs:5235", Upstreams: 41, UpstreamsAcked: 42, Downstreams: 43, Acked: 44, Nacked: 45, Unusable: 46, TooLarge: 47,
				AckLatency: latency.Summary{P50: time.Millisecond, P99: 2 * time.Millisecond, Max: 3 * time.Millisecond},
				Connections: []ccs.Connection{
					{Connection: status.Connection{Number: 48, State: ccs.Waiting, Since: at(16), Address: "10.0.0.1:5235", Window: 49, InFlight: 50, Unacked: 51, Unackable: 52, Refused: "full"}, UnackedSince: at(17), NotStored: errors.New("full")},
					{Connection: status.Connection{Number: 53, State: ccs.Ready, Since: at(18)}},
				},
				LastError: errors.New("last error"), LastErrorAt: at(19),
				Recent: []status.Unusable{{At: at(20), Session: "main", Reason: "odd", From: "device", MessageID: "id"}},
			}, at(0)),
			tellCCS(ccs.Status{Name: "quiet", SenderID: "200"}, at(0)),
			tellFCMv1(fcmv1.Status{
				Name: "phones", SenderID: "400", Address: "fcm.googleapis.com", State: fcmv1.Refused, Downstreams: 101, Acked: 102, Refused: 103, Ambiguous: 104, Odd: 105,
				Account: "a@p.iam.gserviceaccount.com", AccountRefused: true, InFlight: 106, Window: 107, Connections: 108, Dialled: 109, Rate: 110.5, MostRate: 111.5, TokenUntil: at(23), RestingUntil: at(24),
				LastError: "last answer", LastErrorAt: at(25), Unready: []string{"never shown"}, Warnings: []string{"never shown"},
			}),
			tellGateway(config.Session{Name: "web", SenderID: "500", Gateway: &config.Gateway{Auth: []credential.Rule{{}}}}, gateway.Status{
				Gateway: status.Gateway{
					Address: "127.0.0.1:8443", Sockets: 111, Connections: 112, MaxConnections: 113, Stored: 114, Duplicates: 115, Refused: 116, NoRoom: 117, Receipts: 118,
					Downstreams: 119, Acked: 120, InFlight: 121, Returned: 122, Denied: 123, Limited: 124, LastDenied: "denied", LastDeniedAt: at(27), LastLimited: "limited", LastLimitedAt: at(28),
					AckP50: 125.5, AckP99: 126.5, CertUntil: at(29),
				},
				Unready: []string{"never shown"}, Warnings: []string{"never shown"},
			}),
		},
		sending: map[string]outbox.Stats{
			"100": {Pending: 61, Oldest: at(31), Ready: 62, Later: 63, Early: 67, Next: at(21), Taken: 64, Groups: 65, Slowed: 66, HaltedUntil: at(22)},
			"300": {Pending: 67, Oldest: at(32)},
			"400": {Pending: 68, RestsUntil: at(26)},
		},
		counts: entry.Counts{Accepted: 71, Duplicates: 72, Handled: 73, Died: 74, Sent: 75, Acked: 76, Failed: 77, Expired: 78, Events: 79, Downstreams: 80, Dead: 81, Timers: 82},
		full:   true, alarms: []string{"alarm"}, free: ledger.Space{Bytes: 82, Inodes: 83},
	}
	bare := &look{freeErr: errors.New("no disk")}

	var got []any
	for _, l := range []*look{full, bare} {
		st := h.tell(l)
		if st.PID == 0 || st.Now.IsZero() {
			t.Errorf("pid %d, now %s", st.PID, st.Now)
		}
		st.PID, st.Now, st.UptimeSeconds, st.Reasons, st.Warnings = 1, at(0), 2, []string{"reason"}, nil // what hangs on when the test runs
		text, err := json.Marshal(st)
		if err != nil {
			t.Fatal(err)
		}
		var keys map[string]any // in the order of the alphabet
		if err := json.Unmarshal(text, &keys); err != nil {
			t.Fatal(err)
		}
		got = append(got, keys)
		h.o.LogStats = nil
	}
	text, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *update {
		if err := os.WriteFile("testdata/status.json", text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/status.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != string(want) {
		t.Errorf("the status is\n%s\nwhich is not what testdata/status.json says", text)
	}
}
