package gateway

import (
	"container/list"
	"sync"
)

// lru keeps the values of the keys that were asked for last, so that many keys take
// bounded memory.
type lru[V any] struct {
	most  int
	fresh func() V

	mu    sync.Mutex // guards what follows
	order *list.List // of *used[V], the newest in front
	byKey map[string]*list.Element
}

type used[V any] struct {
	key   string
	value V
}

func newLRU[V any](most int, fresh func() V) *lru[V] {
	return &lru[V]{most: most, fresh: fresh, order: list.New(), byKey: map[string]*list.Element{}}
}

// get is the value of a key, or a fresh one.
func (l *lru[V]) get(key string) V {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.byKey[key]; e != nil {
		l.order.MoveToFront(e)
		return e.Value.(*used[V]).value
	}
	if l.order.Len() == l.most {
		oldest := l.order.Back()
		delete(l.byKey, oldest.Value.(*used[V]).key)
		l.order.Remove(oldest)
	}
	u := &used[V]{key, l.fresh()}
	l.byKey[key] = l.order.PushFront(u)
	return u.value
}
