package dispatch

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/instance"
	"balhost/sdk/message"
	"balhost/sdk/wire"
)

// What can never be committed is a dead letter at once, with its reason. What may be
// committed later comes again. A result without a code is never done. // P7, P8
func TestResultsThatCanNotBe(t *testing.T) {
	send := func(d *wire.Downstream) *wire.Changes { return &wire.Changes{Send: []*wire.Downstream{d}} }
	write := func(key string, value []byte) *wire.Changes {
		return &wire.Changes{Write: []*wire.Write{{Key: key, Value: value}}}
	}
	good := &wire.Downstream{MessageId: "x", To: toToken}
	for name, tt := range map[string]struct {
		result *wire.Result
		refuse error // the ledger's
		want   entry.Verdict
		reason string
	}{
		"no target":       {&wire.Result{Code: wire.Result_DONE, Changes: send(&wire.Downstream{MessageId: "x"})}, nil, entry.Dead, "invalid: to has 0 targets"},
		"no id":           {&wire.Result{Code: wire.Result_DONE, Changes: send(&wire.Downstream{To: toToken})}, nil, entry.Dead, "invalid: downstream without message_id"},
		"number in data":  {&wire.Result{Code: wire.Result_DONE, Changes: send(&wire.Downstream{MessageId: "x", To: toToken, Data: []byte(`{"n":1}`)})}, nil, entry.Dead, "invalid: data.n is a number"},
		"no key":          {&wire.Result{Code: wire.Result_DONE, Changes: write("", []byte("1"))}, nil, entry.Dead, "invalid: state key"},
		"no JSON":         {&wire.Result{Code: wire.Result_DONE, Changes: write("k", []byte("plain"))}, nil, entry.Dead, `the value of "k" is not JSON: "plain"`},
		"empty value":     {&wire.Result{Code: wire.Result_DONE, Changes: write("k", nil)}, nil, entry.Dead, `the value of "k" is not JSON`},
		"large value":     {&wire.Result{Code: wire.Result_DONE, Changes: write("k", make([]byte, message.MaxValue+1))}, nil, entry.Dead, "invalid: the value of"},
		"id is taken":     {&wire.Result{Code: wire.Result_DONE, Changes: send(good)}, entry.ErrExists, entry.Dead, "used before"},
		"too large":       {&wire.Result{Code: wire.Result_DONE, Changes: send(good)}, entry.ErrTooLarge, entry.Dead, "large"},
		"disk is full":    {&wire.Result{Code: wire.Result_DONE, Changes: send(good)}, errors.New("disk is full"), entry.Retry, "disk is full"},
		"unknown session": {&wire.Result{Code: wire.Result_DONE, Changes: send(&wire.Downstream{MessageId: "x", To: toToken, Session: "gone"})}, nil, entry.Retry, `session "gone" is not in config.hcl`},
		"its transport":   {&wire.Result{Code: wire.Result_DONE, Changes: send(&wire.Downstream{MessageId: "x", To: toFID})}, nil, entry.Retry, "cannot carry it"},
		"no code":         {&wire.Result{}, nil, entry.Retry, "code UNSPECIFIED"},
		"error, no code":  {&wire.Result{Error: "no such room"}, nil, entry.Retry, "no such room"},
		"changes, none":   {&wire.Result{Changes: send(good)}, nil, entry.Retry, "code UNSPECIFIED"},
		"a later code":    {&wire.Result{Code: 99, Error: "odd"}, nil, entry.Retry, "code 99"},
	} {
		t.Run(name, func(t *testing.T) {
			booted(t, func(b *bench) {
				b.ledger.refuse = tt.refuse
				p := b.echo(nil)
				b.upstreams("anna", "1")
				synctest.Wait()
				tt.result.Delivery = p.last().Delivery
				p.result(tt.result)
				synctest.Wait()
				ends := b.ledger.ends()
				if len(ends) != 1 || ends[0].Verdict != tt.want || !strings.Contains(ends[0].Reason, tt.reason) || !ends[0].Changes.Empty() {
					t.Fatalf("ends %+v, want verdict %v and %q", ends, tt.want, tt.reason)
				}
				if r, err := p.plugin.Results(b.Context()); err != nil || r.Failed != 1 {
					t.Errorf("%d failures (%v): such a result speaks against its plugin", r.Failed, err)
				}
			}, twoTransports)
		})
	}
}

// An impossible result that came of what has changed since does not count. // P7
func TestImpossibleResultOnStaleReads(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil)
		b.ledger.conflict[1] = 1
		b.upstreams("anna", "1")
		synctest.Wait()
		p.result(&wire.Result{Delivery: p.last().Delivery, Code: wire.Result_DONE, Changes: &wire.Changes{
			Read: []*wire.Read{{Key: "k", Version: 3}}, Send: []*wire.Downstream{{MessageId: "x"}},
		}})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := p.deliveries(); len(got) != 2 || p.last().Attempt != 1 || len(b.ledger.ends()) != 0 {
			t.Errorf("%d deliveries, the last is attempt %d, ends %+v", len(got), p.last().Attempt, b.ledger.ends())
		}
	})
}

// TestResultWithoutCodeIsTold: once in a while, however many there are.
func TestResultWithoutCodeIsTold(t *testing.T) {
	booted(t, func(b *bench) {
		b.echo(func(p *process, m *wire.Delivery) { p.result(&wire.Result{Delivery: m.Delivery}) }, unordered)
		b.upstreams("anna", "1", "2", "3")
		time.Sleep(time.Second)
		b.upstreams("anna", "4")
		time.Sleep(sayEvery)
		b.upstreams("anna", "5")
		synctest.Wait()
		if n := strings.Count(b.log.String(), "plugin sends results without a known code"); n != 2 {
			t.Errorf("told %d times, want twice:\n%s", n, b.log)
		}
	})
}

// A plugin that knows no offsets gets the data by itself; one that does gets the bytes once.
func TestDataForThoseWithoutOffsets(t *testing.T) {
	for offsets, want := range map[bool]string{true: "", false: `{"v":"1"}`} {
		booted(t, func(b *bench) {
			p := b.echo(nil, func(f *instance.Facts) { f.Offsets = offsets })
			b.ledger.upstream("app", "anna", "1")
			synctest.Wait()
			u := p.last().GetUpstream()
			if string(u.GetData()) != want || (u.GetDataEnd() != 0) != offsets || string(wire.UpstreamFromProto(u, 1).Data) != `{"v":"1"}` {
				t.Errorf("offsets %v: %v", offsets, u)
			}
		})
	}
}
