package cgroup

import "testing"

func BenchmarkMeter(b *testing.B) {
	const path = "/ctor-meter-bench"
	if err := Make(path); err != nil {
		b.Fatal(err)
	}
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
