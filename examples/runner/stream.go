package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// stream writes server-sent events, one after the other, and no more output than a
// client is to get.
type stream struct {
	mu   sync.Mutex
	w    http.ResponseWriter
	left int
	full func() // called when there is more output than that
}

func newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	return &stream{w: w, left: mostOutput}
}

// send writes an event. A client that does not read holds up its own code alone.
func (s *stream) send(event string, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := fmt.Fprintf(s.w, "event: %s\ndata: %s\n\n", event, b); err != nil {
		return err
	}
	return http.NewResponseController(s.w).Flush()
}

// of is a writer of output that is sent under a name.
func (s *stream) of(name string) io.Writer { return output{s, name} }

type output struct {
	s    *stream
	name string
}

func (o output) Write(p []byte) (int, error) {
	o.s.mu.Lock()
	n := min(len(p), o.s.left)
	o.s.left -= n
	o.s.mu.Unlock()
	if n > 0 {
		// JSON has no other bytes than UTF-8's.
		if err := o.s.send(o.name, strings.ToValidUTF8(string(p[:n]), "\uFFFD")); err != nil {
			return 0, err
		}
	}
	if n < len(p) {
		o.s.full()
	}
	return len(p), nil
}
