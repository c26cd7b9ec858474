package outbox

import stdheap "container/heap"

// heap keeps items by priority. Each item knows its place, so that it can leave
// from the middle.
type heap struct {
	items []*item
	less  func(a, b *item) bool
	index func(*item) *int32 // where an item keeps its place in this heap
}

// top is the first; nil when there is none.
func (h *heap) top() *item {
	if len(h.items) == 0 {
		return nil
	}
	return h.items[0]
}

func (h *heap) add(it *item) { stdheap.Push(h, it) }

// remove takes it out, and reports whether it was in.
func (h *heap) remove(it *item) bool {
	i := int(*h.index(it))
	if i < 0 || i >= len(h.items) || h.items[i] != it {
		return false
	}
	stdheap.Remove(h, i)
	return true
}

// What container/heap asks for.

func (h *heap) Len() int           { return len(h.items) }
func (h *heap) Less(i, j int) bool { return h.less(h.items[i], h.items[j]) }

func (h *heap) Swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	*h.index(h.items[i]), *h.index(h.items[j]) = int32(i), int32(j)
}

func (h *heap) Push(x any) {
	it := x.(*item)
	*h.index(it) = int32(len(h.items))
	h.items = append(h.items, it)
}

func (h *heap) Pop() any {
	last := len(h.items) - 1
	it := h.items[last]
	h.items[last] = nil
	h.items = h.items[:last]
	*h.index(it) = -1
	return it
}

// The orders in use.

func oldestFirst(a, b *item) bool  { return a.Seq < b.Seq }
func soonestFirst(a, b *item) bool { return a.Due.Before(b.Due) }
func endsFirst(a, b *item) bool    { return a.Expires.Before(b.Expires) }
func placeIndex(it *item) *int32   { return &it.place }
func expiryIndex(it *item) *int32  { return &it.expiry }
