package ledger

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"

	"github.com/hashicorp/go-hclog"
)

// TestStalledDisk: a disk that does not answer is said within seconds, nothing is acked
// meanwhile, and one that never answers ends the process. // P1 P10
func TestStalledDisk(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		disk := make(chan struct{})
		stuck := false
		told := make(chan error, 1)
		l := open(t, dir, func(o *Options) {
			o.Log = hclog.New(&hclog.LoggerOptions{Output: &log})
			o.Poison = func(err error) { told <- err }
			o.Commit = func(commit func() error) error {
				if stuck {
					<-disk
				}
				return commit()
			}
		})
		mustAccept(t, l, "tokA", "1", `{}`)
		stuck = true
		acked := make(chan error, 1)
		l.Accept(entry.Inbound{Upstream: upstream("tokA", "2", `{}`)}, func(err error) { acked <- err })
		time.Sleep(commitSlow + 2*time.Second)
		synctest.Wait()
		if d := l.Stalled(); d < commitSlow || len(acked) > 0 {
			t.Errorf("stalled for %v, %d acked", d, len(acked))
		}
		if n := strings.Count(log.String(), "the disk does not answer"); n != 1 {
			t.Errorf("said %d times:\n%s", n, log.String())
		}
		disk <- struct{}{}
		if err := <-acked; err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if d := l.Stalled(); d != 0 || !strings.Contains(log.String(), "the disk answers again") {
			t.Errorf("stalled for %v:\n%s", d, log.String())
		}
		l.Accept(entry.Inbound{Upstream: upstream("tokA", "3", `{}`)}, func(err error) { acked <- err })
		time.Sleep(commitLimit + 2*time.Second)
		if err := <-told; !strings.Contains(err.Error(), "has not ended") {
			t.Error(err)
		}
		disk <- struct{}{}
		if err := <-acked; err == nil {
			t.Error("acked after the process was told to end")
		}
		if err := l.Close(); err == nil {
			t.Error("a poisoned ledger closed well")
		}
	})
}
