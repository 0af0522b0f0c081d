package main

var execCase = testCase{
	name: "exec", about: "exec true in a running container or virtual machine",
	who: []string{"container", "vm", "docker", "podman", "runc"}, runs: manyRuns,
	metrics: []metric{{name: "time", title: "exec, start to exit", unit: "ms", peer: "docker",
		targets: []target{{who: "container", peer: "docker", factor: 0.15}, {who: "vm", peer: "docker", factor: 0.5}}}},
	prepare: func(b *bench, c contestant, _ int) error {
		_, err := b.populate(c, 1)
		return err
	},
	sample: func(b *bench, c contestant, _ int) ([]float64, error) {
		cmd, err := c.exec(b.population[c.name()][0], "true")
		if err != nil {
			return nil, err
		}
		took, err := b.timed(cmd)
		return []float64{milliseconds(took)}, err
	},
	finish: (*bench).depopulate,
}
