package main

import (
	"github.com/prometheus/client_golang/prometheus"

	ctor "github.com/ctorhq/ctor"
)

// metrics are what Prometheus is told of runs.
type metrics struct {
	registry         *prometheus.Registry
	runs             *prometheus.CounterVec
	seconds          *prometheus.HistogramVec
	running, waiting prometheus.Gauge
}

func newMetrics(e *ctor.Engine) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		runs:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "runner_runs_total", Help: "Runs that have ended, by what cut them off, if anything."}, []string{"language", "cut"}),
		seconds:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "runner_run_seconds", Help: "How long a run takes, its container included.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 14)}, []string{"language"}),
		running:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "runner_running", Help: "Runs under way."}),
		waiting:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "runner_waiting", Help: "Requests that wait for a slot."}),
	}
	m.registry.MustRegister(m.runs, m.seconds, m.running, m.waiting, collector{e})
	return m
}

func (m *metrics) ended(language string, r result) {
	m.runs.WithLabelValues(language, r.Cut).Inc()
	m.seconds.WithLabelValues(language).Observe(r.Seconds)
}
