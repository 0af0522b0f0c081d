package main

var ps = testCase{
	name: "ps", about: "list many running containers",
	who: []string{"container", "docker", "podman"}, runs: manyRuns, keep: true,
	levels: func(s scale) []int { return []int{s.many} },
	metrics: []metric{{name: "time", title: "ps", unit: "ms", peer: "docker",
		targets: []target{{who: "container", peer: "docker", factor: 0.5}}}},
	prepare: func(b *bench, c contestant, n int) error {
		if err := notTooMany(b, c, n); err != nil {
			return err
		}
		_, err := b.populate(c, n)
		return err
	},
	sample: func(b *bench, c contestant, _ int) ([]float64, error) {
		took, err := b.listOnce(c)
		return []float64{took}, err
	},
}

// listOnce is the time of one ps in milliseconds.
func (b *bench) listOnce(c contestant) (float64, error) {
	cmd, err := c.list()
	if err != nil {
		return 0, err
	}
	took, err := b.timed(cmd)
	return milliseconds(took), err
}
