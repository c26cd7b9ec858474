package daemon

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// How long a part may take to answer: answerTime for people and scrapers, aliveTime for
// the probe that decides whether the process is restarted.
const (
	answerTime = 2 * time.Second
	aliveTime  = 10 * time.Second
)

// parts are the parts that a host asks, each with its own registry. A stuck part is
// reported by name, and does not delay answers about the others.
type parts struct {
	silent   *prometheus.GaugeVec
	own      func() []*dto.MetricFamily // metrics of plugins' own; nil: there are none
	relay    *part                      // asks for own
	host     *part                      // the process, and everything without a state of its own
	dispatch *part
	plugins  *part
	sessions *part
	outbox   *part
	ledger   *part
	disk     *part
}

// part is one of them. It gets one question at a time, so a stuck part costs only one
// goroutine.
type part struct {
	name    string
	asking  chan struct{} // capacity 1: full while a question is open
	metrics *prometheus.Registry
}

func newParts() *parts {
	p := &parts{silent: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "balhost_part_silent",
		Help: "1 while a part of the host does not answer; then its metrics are missing. By part.",
	}, []string{"part"})} // label part: one of the names below
	for _, one := range []struct {
		at   **part
		name string
	}{
		{&p.host, "host"}, {&p.dispatch, "dispatch"}, {&p.plugins, "plugins"}, {&p.sessions, "sessions"},
		{&p.outbox, "outbox"}, {&p.ledger, "ledger"}, {&p.disk, "disk"},
	} {
		*one.at = &part{name: one.name, asking: make(chan struct{}, 1), metrics: prometheus.NewRegistry()}
	}
	p.relay = &part{name: "relay", asking: make(chan struct{}, 1)}
	p.host.metrics.MustRegister(p.silent)
	return p
}

// ask returns a part's answer, or an error when it takes longer than limit.
func ask[T any](p *part, limit time.Duration, question func() T) (answer T, err error) {
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case p.asking <- struct{}{}:
	case <-late.C:
		return answer, fmt.Errorf("%s does not answer within %s", p.name, limit)
	}
	answered := make(chan T, 1)
	go func() { //house:go ends when the part answers; at most one waits for each part
		defer func() { <-p.asking }()
		answered <- question()
	}()
	select {
	case answer = <-answered:
		return answer, nil
	case <-late.C:
		return answer, fmt.Errorf("%s does not answer within %s", p.name, limit)
	}
}

// Gather returns the metrics of all parts that answer.
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
	var own []*dto.MetricFamily
	if p.own != nil {
		gathering.Go(func() { own, _ = ask(p.relay, answerTime, p.own) }) // the part plugins is asked too, and says that it is silent
	}
	gathering.Wait()
	families, err := append(all, p.host.metrics).Gather()
	return append(families, own...), err // their names are others
}

// note records in the metrics whether a part answers.
func (p *parts) note(one *part, err error) {
	silent := 0.0
	if err != nil {
		silent = 1
	}
	p.silent.WithLabelValues(one.name).Set(silent)
}
