package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
)

// service answers requests.
type service struct {
	languages map[string]*language
	slots     chan struct{} // one for each that may run
	waiting   chan struct{} // likewise, that may wait for one
	metrics   *metrics
}

func newService(languages map[string]*language, atOnce int, m *metrics) *service {
	return &service{
		languages: languages, metrics: m,
		slots: make(chan struct{}, atOnce), waiting: make(chan struct{}, 100*atOnce),
	}
}

// ServeHTTP runs what it is sent.
func (s *service) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	var r request
	if err := json.NewDecoder(http.MaxBytesReader(w, q.Body, 2*mostSource)).Decode(&r); err != nil {
		http.Error(w, "the request is no JSON, or too long: "+err.Error(), http.StatusBadRequest)
		return
	}
	l := s.languages[r.Language]
	switch {
	case l == nil:
		http.Error(w, fmt.Sprintf("language %q is not known", r.Language), http.StatusBadRequest)
		return
	case len(r.Source) > mostSource || r.Timeout < 0 || r.Memory < 0:
		http.Error(w, "source, timeout or memory can't be that", http.StatusBadRequest)
		return
	}
	ctx := propagation.TraceContext{}.Extract(q.Context(), propagation.HeaderCarrier(q.Header))
	ctx, span := otel.Tracer("runner").Start(ctx, "run")
	defer span.End()
	span.SetAttributes(attribute.String("language", r.Language))
	if !s.enter(q) {
		http.Error(w, "too many requests wait", http.StatusTooManyRequests)
		return
	}
	defer func() { <-s.slots }()
	s.metrics.running.Inc()
	defer s.metrics.running.Dec()
	// A client that reads nothing for that long is gone.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(2 * longest))
	out := newStream(w)
	done := run(ctx, l, r, out)
	span.SetAttributes(attribute.Int("code", done.Code), attribute.String("cut", done.Cut))
	if q.Context().Err() != nil {
		done.Cut = "client"
	}
	s.metrics.ended(r.Language, done)
	_ = out.send("exit", done) // an error: the client has gone
}

// enter waits for a slot, and tells whether there is one.
func (s *service) enter(q *http.Request) bool {
	select {
	case s.waiting <- struct{}{}:
	default:
		return false
	}
	defer func() { <-s.waiting }()
	s.metrics.waiting.Inc()
	defer s.metrics.waiting.Dec()
	select {
	case s.slots <- struct{}{}:
		return true
	case <-q.Context().Done():
		return false
	}
}
