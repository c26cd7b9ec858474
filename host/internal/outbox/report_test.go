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
