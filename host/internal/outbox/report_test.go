package outbox

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/flow"

	"github.com/hashicorp/go-hclog"
)

// Each downstream that failed has a line in the log, at warn, with its id and only
// the beginning of its token. When very many fail, a line says how many more there were.
func TestFailedDownstreamsAreNamed(t *testing.T) { // P8
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		var log lines
		b.log = hclog.New(&hclog.LoggerOptions{Output: &log, DisableTime: true})
		const token = "fJx0_pmQRE-2aVtUo1234567890abcdefghijklmnopqrstuvwxyz"
		l.accept(token, 0, -1)
		take(b, 1)
		b.Answered("main", 1, saying(unregistered, "gone\nfor good\x1b[2J"))
		want := "[WARN]  downstream failed: session=main msg_id=d-1 to=\"fJx0_pmQRE-2aVtU…\" code=DEVICE_UNREGISTERED err=\"gone·for good·[2J\"\n"
		if log.String() != want {
			t.Errorf("logged\n%swant\n%s", log.String(), want)
		}
		if strings.Contains(log.String(), token) {
			t.Error("the whole token is in the log")
		}
		log.Reset()

		const storm = 500
		for range storm {
			l.accept("tokA", 0, -1)
		}
		for _, seq := range take(b, storm) {
			b.Answered("main", seq, malformed)
		}
		l.accept("tokB", 0, -1)
		take(b, 1)
		b.Answered("main", storm+2, saying(stanza, "stanza error 400: bad-request")) // another code has lines of its own
		if n := strings.Count(log.String(), "code=BAD_REGISTRATION"); n != reportLines {
			t.Errorf("%d lines for one code, want %d", n, reportLines)
		}
		if !strings.Contains(log.String(), "msg_id=d-502 to=tokB code=STANZA_ERROR") {
			t.Errorf("the other code is not named: %s", log.String())
		}
		log.Reset()
		time.Sleep(reportEvery + time.Second)
		synctest.Wait()
		if want := fmt.Sprintf("code=BAD_REGISTRATION count=%d", storm-reportLines); !strings.Contains(log.String(), want) {
			t.Errorf("not said how many were left out (%s): %s", want, log.String())
		}
		if len(b.reports) != 0 {
			t.Errorf("%d reports are kept for ever", len(b.reports))
		}
		log.Reset()
		l.accept("tokA", 0, -1)
		take(b, 1)
		b.Answered("main", storm+3, malformed)
		if !strings.Contains(log.String(), "msg_id=d-503") {
			t.Errorf("later ones are not named: %s", log.String())
		}
	})
}

// Why downstreams were not taken is counted by code and reason: what is tried again, and what ended.
func TestTroublesAreCounted(t *testing.T) { // P8
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		for range 3 {
			l.accept("tokA", 0, -1)
		}
		l.accept("tokB", 0, time.Hour)
		seqs := take(b, 4)
		b.Answered("main", seqs[0], saying(unavailable, "later, request 17"))
		b.Answered("main", seqs[1], saying(unavailable, "later, request 18"))
		b.Answered("main", seqs[2], saying(unregistered, "gone"))
		b.Return("main", seqs[3:], flow.End{})
		b.Answered("main", seqs[3], unavailable) // it was returned: nobody asks any more
		time.Sleep(time.Second)
		all := b.Stats("main").Troubles
		if len(all) != 2 || all[0].Code != "DEVICE_UNREGISTERED" || !all[0].Gone || all[0].Ended != 1 || all[1].Again != 2 || all[1].Reason != "later, request 18" {
			t.Errorf("%+v", all)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if all := b.Stats("main").Troubles; len(all) != 3 || all[0].Ended != 1 || !strings.Contains(all[0].Reason, "time to live") {
			t.Errorf("one has expired: %+v", all)
		}
	})
}

// No peer fills the memory with codes that it makes up.
func TestMadeUpCodesAreBounded(t *testing.T) { // P10
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		b.o.Attempts = 1
		for i := range 10 * reportCodes {
			l.accept("tokA", 0, -1)
			take(b, 1)
			b.Answered("main", uint64(i+1), flow.Answer{Verdict: flow.Retry, Code: fmt.Sprint("CODE_", i)})
		}
		if n := len(b.reports); n > reportCodes+1 {
			t.Errorf("%d codes are kept", n)
		}
	})
}
