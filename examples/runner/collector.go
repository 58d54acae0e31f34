package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
)

// collector tells Prometheus what each container of an engine uses, when it asks.
type collector struct{ e *ctor.Engine }

var labels = []string{"id", "name", "image"}

var (
	cpuSeconds  = prometheus.NewDesc("ctor_container_cpu_seconds_total", "CPU time of a container.", labels, nil)
	memoryBytes = prometheus.NewDesc("ctor_container_memory_bytes", "Memory of a container.", labels, nil)
	processes   = prometheus.NewDesc("ctor_container_processes", "Processes and threads of a container.", labels, nil)
)

var _ prometheus.Collector = collector{}

// Describe implements prometheus.Collector.
func (collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{cpuSeconds, memoryBytes, processes} {
		to <- d
	}
}

// Collect implements prometheus.Collector. A container that ends meanwhile is left out.
func (c collector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list, err := container.List(ctx, c.e)
	if err != nil {
		to <- prometheus.NewInvalidMetric(cpuSeconds, err)
		return
	}
	for _, one := range list {
		i, err := one.Info(ctx)
		if err != nil || i.State != container.Running {
			continue
		}
		s, err := one.Stats(ctx)
		if err != nil {
			continue
		}
		of := []string{i.ID, i.Name, i.ImageRef}
		to <- prometheus.MustNewConstMetric(cpuSeconds, prometheus.CounterValue, s.CPU.Seconds(), of...)
		to <- prometheus.MustNewConstMetric(memoryBytes, prometheus.GaugeValue, float64(s.Memory), of...)
		to <- prometheus.MustNewConstMetric(processes, prometheus.GaugeValue, float64(s.Pids), of...)
	}
}
