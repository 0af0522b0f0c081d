package main

import (
	"fmt"
	"slices"
)

// Growth shows how costs grow with what already runs. The containers of the
// level before stay, and all contestants' are there at once.
var growth = testCase{
	name: "growth", about: "starts, memory and ps with more and more idle containers",
	who: []string{"container", "docker", "podman"}, runs: once,
	levels:  func(s scale) []int { return s.growth },
	metrics: growthMetrics("container", "docker"),
	prepare: notTooMany,
	sample:  grow,
}

var growthVM = testCase{
	name: "growth-vm", about: "the same with more and more idle virtual machines",
	who: []string{"vm"}, runs: once,
	levels:  func(s scale) []int { return s.growthVMs },
	metrics: growthMetrics("vm", ""),
	sample:  grow,
	finish:  (*bench).depopulate,
}

// podmanMost is how many podman keeps: no target is held against it, and two
// peers with a thousand containers each would take minutes more.
const podmanMost = 100

func notTooMany(_ *bench, c contestant, level int) error {
	if c.name() == "podman" && level > podmanMost {
		return absence(fmt.Sprintf("left out beyond %d containers, to keep the run short", podmanMost))
	}
	return nil
}

func growthMetrics(who, peer string) []metric {
	t := []target{{who: who}}
	return []metric{
		{name: "rate", title: "starts, up to so many running", unit: "/s", more: true, peer: peer, linear: true, targets: t},
		{name: "pss", title: "daemons and helpers with so many running, PSS", unit: "MiB", peer: peer, linear: true, targets: t},
		{name: "ps", title: "ps with so many running", unit: "ms", peer: peer, linear: true, targets: t},
	}
}

// lists is how often ps runs at each level; the median counts.
const lists = 5

func grow(b *bench, c contestant, level int) ([]float64, error) {
	had := len(b.population[c.name()])
	took, err := b.populate(c, level)
	if err != nil {
		return nil, err
	}
	b.settle()
	memory, _ := pss(c.ours)
	times := make([]float64, lists)
	for i := range times {
		if times[i], err = b.listOnce(c); err != nil {
			return nil, err
		}
	}
	slices.Sort(times)
	return []float64{float64(level-had) / took.Seconds(), memory / mebi, times[lists/2]}, nil
}
