package main

import "testing"

// BenchmarkTree measures the making of the commands, which every start pays.
func BenchmarkTree(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		newRoot(newApp(), []string{"run", "alpine"})
	}
}
