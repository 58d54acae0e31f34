// Package memo remembers answers that never change, up to a bound.
package memo

import "sync"

// most is how many answers are kept. One more, and it begins from none: those in use
// soon come again.
const most = 256

// Memo remembers the answer for each key. The zero value is empty.
type Memo[K comparable, V any] struct {
	mu  sync.Mutex
	all map[K]V
}

// Get gives the answer that Put has kept.
func (m *Memo[K, V]) Get(key K) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.all[key]
	return v, ok
}

// Put keeps an answer.
func (m *Memo[K, V]) Put(key K, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil || len(m.all) >= most {
		m.all = map[K]V{}
	}
	m.all[key] = v
}
