package main

// The engine makes ahead what the next start needs, and the pause before each
// run of a benchmark lets it. What a start costs of which nothing was done
// before is measured with an engine that has been told not to.

const (
	engineFolder = "abode"
	plainFolder  = "plain"
)

var startPlain = testCase{
	name: "start-plain", about: "run --rm IMAGE true, default network, by an engine that makes nothing ahead (aboded --ahead=false)",
	who: []string{"container", "vm", "docker"}, runs: manyRuns,
	metrics: []metric{{name: "time", title: "start to exit, nothing made ahead", unit: "ms", peer: "docker"}},
	prepare: func(b *bench, c contestant, _ int) error {
		w, is := c.(*wall)
		if !is {
			return nil
		}
		if b.plain == nil {
			b.plain = &engine{place: b.place, folder: plainFolder, flags: []string{"--ahead=false"}}
		}
		if err := b.plain.start(); err != nil {
			return err
		}
		return b.warmUp(&wall{engine: b.plain, isolation: w.isolation})
	},
	sample: func(b *bench, c contestant, level int) ([]float64, error) {
		if w, is := c.(*wall); is {
			c = &wall{engine: b.plain, isolation: w.isolation}
		}
		return startOnce(true)(b, c, level)
	},
	finish: func(b *bench, _ contestant) {
		if b.plain != nil {
			b.plain.stop()
			b.plain = nil
		}
	},
}
