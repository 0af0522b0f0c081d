package main

import (
	"math"
	"time"
)

// What a container adds is measured by difference: the PSS of all processes of
// the contestant, daemons too, with and without the containers. Workloads are
// not among them; a virtual machine's is in its hypervisor's memory.

var memory = testCase{
	name: "memory", about: "memory per idle container beyond its own process",
	who: []string{"container", "docker", "podman", "runc"}, runs: once,
	levels: func(s scale) []int { return []int{s.idle} },
	metrics: []metric{
		{name: "pss", title: "helpers per idle container, PSS", unit: "MiB", peer: "docker",
			targets: []target{{who: "container", peer: "docker", limit: 0.3e6 / mebi}}},
		{name: "host", title: "all memory of the host per idle container", unit: "MiB", peer: "docker"},
	},
	sample: memoryPer,
	finish: (*bench).depopulate,
}

var memoryVM = testCase{
	name: "memory-vm", about: "memory per idle virtual machine, hypervisor and guest",
	who: []string{"vm", "qemu"}, runs: once,
	levels: func(s scale) []int { return []int{s.idleVMs} },
	metrics: []metric{
		{name: "pss", title: "hypervisor and guest per idle VM, PSS", unit: "MiB", peer: "qemu",
			targets: []target{{who: "vm", peer: "qemu", factor: 0.3}}},
		{name: "host", title: "all memory of the host per idle VM", unit: "MiB", peer: "qemu"},
	},
	sample: memoryPer,
	finish: (*bench).depopulate,
}

func memoryPer(b *bench, c contestant, n int) ([]float64, error) {
	b.depopulate(c)
	b.settle()
	pss0, _ := pss(c.ours)
	used0 := used()
	if _, err := b.populate(c, n); err != nil {
		return nil, err
	}
	b.settle()
	pss1, _ := pss(c.ours)
	return []float64{(pss1 - pss0) / float64(n) / mebi, (used() - used0) / float64(n) / mebi}, nil
}

var atRest = testCase{
	name: "at-rest", about: "memory of the daemons while no container runs",
	who: []string{"container", "docker"}, runs: once, // the others have no daemon
	metrics: []metric{{name: "pss", title: "daemons at rest, PSS", unit: "MiB", peer: "docker",
		targets: []target{{who: "container", peer: "docker", factor: 0.25}}}},
	prepare: func(b *bench, c contestant, _ int) error {
		b.settle()
		return nil
	},
	sample: func(b *bench, c contestant, _ int) ([]float64, error) {
		sum, count := pss(c.resident)
		if count == 0 {
			return nil, absence("its daemons were not found")
		}
		return []float64{sum / mebi}, nil
	},
}

const mebi = 1 << 20

// settle waits until what has just started or ended has come to rest, and the
// kernel has freed what is to be freed.
func (b *bench) settle() {
	b.calm()
	before := math.Inf(1)
	for range 15 {
		select {
		case <-b.ctx.Done():
			return
		case <-time.After(time.Second):
		}
		now := used()
		if math.Abs(before-now) < 4*mebi {
			return
		}
		before = now
	}
}
