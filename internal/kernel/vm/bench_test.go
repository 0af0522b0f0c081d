package vm

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/abode-run/abode/internal/kernel"
)

// The benchmarks measure what the documentation promises: each iteration is
// one guest that answers, and is released outside of the time. Medians are
// told beside the means, because a busy machine stretches a few.

func benchmarkPlace(b *testing.B, change func(*kernel.Placement)) {
	p := provider(b)
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		pl := placement(b, p)
		change(&pl)
		b.StartTimer()
		begin := time.Now()
		k, err := p.Place(context.Background(), pl)
		took = append(took, time.Since(begin))
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		k.Release(context.Background())
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(took[0].Microseconds())/1000, "best-ms")
}

func BenchmarkResume(b *testing.B) {
	p := provider(b)
	place(b, p, placement(b, p)) // so that the template is on disk
	benchmarkPlace(b, func(*kernel.Placement) {})
}

func BenchmarkColdBoot(b *testing.B) {
	benchmarkPlace(b, func(pl *kernel.Placement) { pl.NoTemplate = true })
}

// BenchmarkTemplateSave writes a template and loads it again.
func BenchmarkTemplateSave(b *testing.B) {
	p := provider(b)
	s, err := p.shape(placement(b, p))
	if err != nil {
		b.Fatal(err)
	}
	tpl, err := p.template(context.Background(), s)
	if err != nil {
		b.Fatal(err)
	}
	defer tpl.close()
	dir := b.TempDir()
	for b.Loop() {
		if err := writeTemplate(dir, s.key, s.kernel.Name, tpl); err != nil {
			b.Fatal(err)
		}
		again, err := loadTemplate(dir+"/"+s.key, s.key)
		if err != nil {
			b.Fatal(err)
		}
		again.close()
	}
}
