package main

import "errors"

// Where the machine's own KVM does not run kernels at speed, a VM on KVM is
// measured in a machine whose KVM does: one that the engine itself boots, see
// nested. Both contestants are in there, so their ratio is of one place.

var startKVM = testCase{
	name: "start-kvm", about: "run --rm --isolation vm IMAGE true on KVM (kvm-amd), in an emulated machine that the engine has booted for it, against a cold boot in there",
	who: []string{"vm", "qemu"}, runs: func(s scale) int { return s.nested },
	metrics: []metric{{name: "time", title: "start to exit, virtual machine on nested KVM", unit: "ms", peer: "qemu",
		targets: []target{{who: "vm", peer: "qemu", factor: 0.15}}}},
	prepare: func(b *bench, c contestant, _ int) error {
		if b.report.Accelerator == "kvm" {
			return absence("this machine's own KVM is usable: see start-vm")
		}
		if b.nested == nil {
			b.nested = b.measureNested("^start-vm$", b.scale.nested)
		}
		return b.nested.err
	},
	note: func(b *bench) string {
		if b.nested == nil || b.nested.err != nil {
			return ""
		}
		return "in an emulated machine, " + b.nested.about
	},
	sample: func(b *bench, c contestant, _ int) ([]float64, error) {
		left := b.nested.samples[c.name()]
		if len(left) == 0 {
			return nil, errors.New("the run in the machine has no more figures of it")
		}
		b.nested.samples[c.name()] = left[1:]
		return left[:1], nil
	},
}
