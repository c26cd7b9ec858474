package fcmsim

import (
	"errors"
	"strconv"
	"time"
)

// Quotas limit messages a minute. 0 means no limit.
type Quotas struct {
	Project int `json:"project"`
	Target  int `json:"target"` // to one token or FID
	Topic   int `json:"topic"`  // to one topic or condition
}

// SetQuotas changes the quotas, and begins a new minute.
func (s *Server) SetQuotas(q Quotas) error {
	if q.Project < 0 || q.Target < 0 || q.Topic < 0 {
		return errors.New("quotas can't be negative; 0 means no limit")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quotas, s.quota = q, quota{}
	return nil
}

// quota counts what was sent in this minute. It begins with its first message: it
// does not follow the clock. Spec: fcm-v1-and-gateway.md A7.
type quota struct {
	start    time.Time
	spent    int
	byTarget map[string]int
}

// spend counts a message, or is the answer to one over a limit, which does not count.
func (q *quota) spend(o Quotas, m message, now time.Time) *Response {
	if now.Sub(q.start) >= time.Minute {
		*q = quota{start: now, byTarget: map[string]int{}}
	}
	limit, refusal := o.Target, TargetQuota
	if m.kind == KindTopic || m.kind == KindCondition {
		limit, refusal = o.Topic, TopicQuota
	}
	switch {
	case o.Project > 0 && q.spent >= o.Project:
		refusal = ProjectQuota
	case limit > 0 && q.byTarget[m.target] >= limit:
	default:
		q.spent++
		if limit > 0 {
			q.byTarget[m.target]++
		}
		return nil
	}
	left := q.start.Add(time.Minute).Sub(now)
	r := refusal.After(strconv.Itoa(int((left + time.Second - 1) / time.Second)))
	return &r
}
