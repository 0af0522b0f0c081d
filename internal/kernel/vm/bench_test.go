package vm

import (
	"context"
	"testing"
)

// The benchmarks measure what README and SPECIFICATION promise; each iteration
// is one guest that answers and is released.

func BenchmarkResume(b *testing.B) {
	p := provider(b)
	place(b, p, placement(b, p))
	for b.Loop() {
		b.StopTimer()
		pl := placement(b, p)
		b.StartTimer()
		k, err := p.Place(context.Background(), pl)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		k.Release(context.Background())
		b.StartTimer()
	}
}

func BenchmarkColdBoot(b *testing.B) {
	p := provider(b)
	for b.Loop() {
		b.StopTimer()
		pl := placement(b, p)
		pl.NoTemplate = true
		b.StartTimer()
		k, err := p.Place(context.Background(), pl)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		k.Release(context.Background())
		b.StartTimer()
	}
}
