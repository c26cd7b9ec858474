package fcmv1

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/flow"
)

// endless is a body without an end.
type endless struct{ read atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.read.Add(int64(len(p))) > 100*maxBody {
		return 0, io.ErrUnexpectedEOF // so that who reads on fails, and takes no memory along
	}
	return len(p), nil
}

func (e *endless) Close() error { return nil }

// Of an answer without an end only the beginning is read, whatever its status. // P10
func TestAnswerWithoutEnd(t *testing.T) {
	for status, verdict := range map[int]flow.Verdict{200: flow.Acked, 503: flow.Retry} {
		synctest.Test(t, func(t *testing.T) {
			b, body := newBox(downstreams(1)...), &endless{}
			start(t, newSession(Options{Outbox: b, Transport: trip(func(r *http.Request) (*http.Response, error) {
				request, err := io.ReadAll(r.Body)
				if err != nil {
					return nil, err
				}
				if !real(string(request)) {
					return reply2(r, 200, accepted), nil
				}
				answer := reply2(r, status, "")
				answer.Body = body
				return answer, nil
			})}, tokens(new(atomic.Int64))))
			time.Sleep(time.Second)
			synctest.Wait()
			if all := b.answers(); len(all) != 1 || all[0].Verdict != verdict || body.read.Load() > 2*maxBody {
				t.Errorf("%d: %+v after %d bytes", status, all, body.read.Load())
			}
		})
	}
}
