package main

import (
	"encoding/json"
	"errors"
	"fmt"
)

// A nested run is this program's own, in a virtual machine that the engine
// boots. Emulated, that machine has a processor of AMD's on which KVM runs
// kernels at the speed of everything else in there.
type nested struct {
	samples map[string][]float64 // of each contestant
	about   string               // the accelerator that was found there
	err     error
}

const (
	nestedImage = "bench-machine:latest"
	nestedName  = "bench-machine"
	// More than one emulated processor, of which one runs a guest, can wait for
	// each other forever.
	nestedCPUs   = "1"
	nestedMemory = "5g"
	nestedSetup  = `set -e
for m in $(cat /input/order); do
	insmod "/input/modules/$m.ko" 2>/dev/null || grep -q "^$m " /proc/modules || echo "no module $m" >&2
done
mkdir -p /dev/net
node() { [ -e "$1" ] || mknod "$@"; }
node /dev/kvm c 10 232
chmod 0666 /dev/kvm # as udev has it
node /dev/net/tun c 10 200
node /dev/loop-control c 10 237
for i in 0 1 2 3 4 5 6 7; do node "/dev/loop$i" b 7 "$i"; done
truncate -s 3G /disk
mkfs.ext4 -q -E lazy_itable_init=1 /disk
mount -o loop /disk /work
mkdir -m 0711 /work/bench
chmod 0711 /work
`
)

// nestedModules make a host of the outer machine's kernel.
var nestedModules = []string{"loop", "tun", "kvm", "kvm_amd"}

// measureNested boots the machine, runs the case there so many times, and ends
// the machine.
func (b *bench) measureNested(only string, runs int) *nested {
	n := &nested{samples: map[string][]float64{}}
	n.err = b.tryNested(n, only, runs)
	if n.err != nil {
		n.err = fmt.Errorf("cannot measure in a virtual machine: %w", n.err)
	}
	return n
}

func (b *bench) tryNested(n *nested, only string, runs int) error {
	e := b.engine()
	if e == nil {
		return absence("the engine boots the machine, and it does not take part")
	}
	if err := b.nestedImage(e); err != nil {
		return err
	}
	b.progress("booting an emulated machine with KVM")
	wall := &wall{engine: e, isolation: "vm"}
	defer func() { _ = wall.remove([]string{nestedName}) }()
	start := e.abode("run", "-d", "--name", nestedName, "--isolation", "vm", "--privileged", "-m", nestedMemory, "--cpus", nestedCPUs, nestedImage, "sleep", "1000000")
	if err := b.do(start); err != nil {
		return err
	}
	if err := b.do(e.abode("exec", nestedName, "sh", "/input/setup.sh")); err != nil {
		return err
	}
	b.progress("measuring in the emulated machine: minutes")
	measure := fmt.Sprintf("exec /bin.abode/abode-bench --inside /work/bench --bin /bin.abode --cache /input --results /work/results --only '%s' --contestants vm,qemu --runs %d 2>&1", only, runs)
	if said, err := b.outputWithin(e.abode("exec", "-e", "TMPDIR=/work", nestedName, "sh", "-c", measure), longLimit); err != nil {
		return fmt.Errorf("%w %s", err, firstLine(said))
	}
	said, err := b.output(e.abode("exec", nestedName, "cat", "/work/results/latest.json"))
	if err != nil {
		return err
	}
	return n.read([]byte(said))
}

// read takes the samples from the report of the run in there.
func (n *nested) read(said []byte) error {
	var r report
	if err := json.Unmarshal(said, &r); err != nil {
		return fmt.Errorf("its report cannot be read: %w", err)
	}
	for _, p := range r.Contestants {
		if p.Absent != "" {
			return fmt.Errorf("%s does not take part there: %s", p.Title, p.Absent)
		}
		if p.Name == "vm" {
			n.about = p.Version
		}
	}
	if r.Accelerator != "kvm" || len(r.Tables) != 1 {
		return absence("KVM is not usable there either: " + n.about)
	}
	for _, row := range r.Tables[0].Rows {
		n.samples[row.Contestant] = row.Samples
		if row.Broken != "" {
			return errors.New(row.Broken)
		}
	}
	return nil
}
