package daemon

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// How long a part has to answer: people and scrapers, and the probe that decides
// about the process's life.
const (
	answerTime = 2 * time.Second
	aliveTime  = 10 * time.Second
)

// parts are what a host asks of, each with its own registry. A part that is
// stuck is named, and holds up no answer about the others.
type parts struct {
	silent   *prometheus.GaugeVec
	host     *part // the process, and what has no state of its own
	dispatch *part
	plugins  *part
	sessions *part
	outbox   *part
	ledger   *part
	disk     *part
}

// part is one of them. One question at a time is put to it, so that one that is
// stuck costs one goroutine.
type part struct {
	name    string
	turn    chan struct{} // capacity 1: a question is put
	metrics *prometheus.Registry
}

func newParts() *parts {
	p := &parts{silent: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "balhost_part_silent",
		Help: "1 while a part of the host does not answer, so that its metrics are missing, by part.",
	}, []string{"part"})} // label part: as the names below
	for _, one := range []struct {
		at   **part
		name string
	}{
		{&p.host, "host"}, {&p.dispatch, "dispatch"}, {&p.plugins, "plugins"}, {&p.sessions, "sessions"},
		{&p.outbox, "outbox"}, {&p.ledger, "ledger"}, {&p.disk, "disk"},
	} {
		*one.at = &part{name: one.name, turn: make(chan struct{}, 1), metrics: prometheus.NewRegistry()}
	}
	p.host.metrics.MustRegister(p.silent)
	return p
}

// ask gives what a part answers, or an error when that takes longer than limit.
func ask[T any](p *part, limit time.Duration, question func() T) (answer T, err error) {
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case p.turn <- struct{}{}:
	case <-late.C:
		return answer, fmt.Errorf("%s does not answer within %s", p.name, limit)
	}
	answered := make(chan T, 1)
	go func() { //house:go ends when the part answers; until then it is the only one that waits
		defer func() { <-p.turn }()
		answered <- question()
	}()
	select {
	case answer = <-answered:
		return answer, nil
	case <-late.C:
		return answer, fmt.Errorf("%s does not answer within %s", p.name, limit)
	}
}

// Gather is all parts' metrics, but for those of parts that don't answer.
func (p *parts) Gather() ([]*dto.MetricFamily, error) {
	var all prometheus.Gatherers
	var gathering sync.WaitGroup
	var mu sync.Mutex // guards all
	for _, one := range []*part{p.dispatch, p.plugins, p.sessions, p.outbox, p.ledger} {
		gathering.Go(func() {
			type result struct {
				families []*dto.MetricFamily
				err      error
			}
			got, err := ask(one, answerTime, func() (r result) { r.families, r.err = one.metrics.Gather(); return r })
			p.note(one, err)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return got.families, got.err }))
			}
		})
	}
	gathering.Wait()
	return append(all, p.host.metrics).Gather()
}

// note says in the metrics whether a part answers.
func (p *parts) note(one *part, err error) {
	silent := 0.0
	if err != nil {
		silent = 1
	}
	p.silent.WithLabelValues(one.name).Set(silent)
}
