package main

import "time"

// A start is measured from the command's start to its exit: the whole way that
// a person waits for.

var startNetwork = testCase{
	name: "start-network", about: "run --rm IMAGE true, default network, from the command's start to its exit",
	who: []string{"container", "docker", "podman"}, runs: manyRuns,
	metrics: []metric{{name: "time", title: "start to exit, default network", unit: "ms", peer: "docker",
		targets: []target{{who: "container", peer: "docker", factor: 0.08}}}},
	sample: startOnce(true),
}

var startNone = testCase{
	name: "start-none", about: "the same without a network",
	who: []string{"container", "docker", "podman", "runc", "floor"}, runs: manyRuns,
	metrics: []metric{{name: "time", title: "start to exit, no network", unit: "ms", peer: "runc",
		targets: []target{{who: "container", peer: "runc", factor: 0.6}}}},
	sample: startOnce(false),
}

var startVM = testCase{
	name: "start-vm", about: "the same as a virtual machine from a template, with network, against docker's container and a cold boot",
	who: []string{"vm", "docker", "qemu"}, runs: manyRuns,
	metrics: []metric{{name: "time", title: "start to exit, virtual machine", unit: "ms", peer: "docker",
		targets: []target{
			{who: "vm", peer: "docker", factor: 0.5, accelerator: "tcg"},
			{who: "vm", peer: "qemu", factor: 0.15, accelerator: "kvm"},
		}}},
	sample: startOnce(true),
}

func startOnce(network bool) func(*bench, contestant, int) ([]float64, error) {
	return func(b *bench, c contestant, _ int) ([]float64, error) {
		cmd, err := c.run(testImage, network, "true")
		if err != nil {
			return nil, err
		}
		took, err := b.timed(cmd)
		return []float64{milliseconds(took)}, err
	}
}

var parallel = testCase{
	name: "parallel", about: "many run --rm IMAGE true at once, to the last exit, default network",
	who: []string{"container", "vm", "docker", "podman"}, runs: batches,
	metrics: []metric{{name: "rate", title: "starts at once", unit: "/s", more: true, peer: "docker",
		targets: []target{{who: "container", peer: "docker", factor: 8}, {who: "vm", peer: "docker", factor: 1}}}},
	sample: func(b *bench, c contestant, _ int) ([]float64, error) {
		n := b.scale.together
		if c.name() == "vm" {
			n = b.scale.machines
		}
		begin := time.Now()
		err := b.eachAtOnce(n, b.scale.inFlight, func(int) error {
			cmd, err := c.run(testImage, true, "true")
			if err != nil {
				return err
			}
			return b.do(cmd)
		})
		return []float64{float64(n) / time.Since(begin).Seconds()}, err
	},
}
