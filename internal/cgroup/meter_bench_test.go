package cgroup

import "testing"

func BenchmarkMeter(b *testing.B) {
	const path = "/ctor-meter-bench"
	fresh(b, path)
	m := At(path).Meter()
	b.Cleanup(func() {
		m.Close()
		_ = Drop(path)
	})
	for b.Loop() {
		if _, err := m.Read(); err != nil {
			b.Fatal(err)
		}
	}
}
