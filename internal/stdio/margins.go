package stdio

import "fmt"

// Margins keeps the beginning and the end of what is written to it, up to N bytes
// of each.
type Margins struct {
	N int

	first, last []byte
	dropped     int64
}

// Write implements io.Writer.
func (m *Margins) Write(p []byte) (int, error) {
	written := len(p)
	if room := m.N - len(m.first); room > 0 {
		k := min(room, len(p))
		m.first, p = append(m.first, p[:k]...), p[k:]
	}
	m.last = append(m.last, p...)
	if extra := len(m.last) - m.N; extra > m.N { // not at each Write
		m.drop(extra)
	}
	return written, nil
}

func (m *Margins) drop(k int) {
	m.dropped += int64(k)
	m.last = append(m.last[:0], m.last[k:]...)
}

// Bytes is what was kept, and how much is missing between.
func (m *Margins) Bytes() []byte {
	if extra := len(m.last) - m.N; extra > 0 {
		m.drop(extra)
	}
	if m.dropped == 0 {
		return append(m.first, m.last...)
	}
	return fmt.Appendf(m.first, "\n... omitting %d bytes ...\n%s", m.dropped, m.last)
}

// End is what was written last.
func (m *Margins) End() []byte {
	if len(m.last) > 0 {
		return m.last
	}
	return m.first
}
