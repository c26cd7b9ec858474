package ledger

import (
	"container/list"
	"sync"
)

// pageCache holds the pages that were read last from the disk, as their records are
// there. The entries of one page are needed at different times, each when its lane has
// come so far. Without the cache each would cost a read of the whole page.
type pageCache struct {
	limit int // bytes

	mu   sync.Mutex // guards what follows
	held int
	of   map[pageKey]*list.Element // their values are *cached
	used *list.List                // the last one first
}

type pageKey struct {
	kind  byte
	first uint64
}

// cached is the record of one page. Entries never change, and a page is written again only
// to leave out those that have ended. So a record that is too old has what the page has,
// and more.
type cached struct {
	pageKey
	reader
}

func newPageCache(limit int) *pageCache {
	return &pageCache{limit: limit, of: map[pageKey]*list.Element{}, used: list.New()}
}

func (c *pageCache) get(key pageKey) (r reader, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.of[key]
	if e == nil {
		return reader{}, false
	}
	c.used.MoveToFront(e)
	return e.Value.(*cached).reader, true
}

// put keeps a record; r is its own.
func (c *pageCache) put(key pageKey, r reader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(c.of[key])
	c.of[key] = c.used.PushFront(&cached{key, r})
	c.held += len(r.b)
	for c.held > c.limit {
		c.remove(c.used.Back())
	}
}

// drop forgets a record whose page is no more.
func (c *pageCache) drop(key pageKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(c.of[key])
}

func (c *pageCache) remove(e *list.Element) {
	if e == nil {
		return
	}
	r := c.used.Remove(e).(*cached)
	delete(c.of, r.pageKey)
	c.held -= len(r.b)
}

// empty forgets all records.
func (c *pageCache) empty() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = 0
	clear(c.of)
	c.used.Init()
}
