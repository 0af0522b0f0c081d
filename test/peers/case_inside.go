package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// What goes on inside is measured by the programs that people use for it, from
// the same Debian image everywhere.

// toolsImage has fio and iperf3; hack/bench makes it.
const toolsImage = "bench-tools:latest"

var diskInside = testCase{
	name: "disk", about: "fio on what the container writes to: a file written and synced, then read at random with 16 requests in flight",
	who: []string{"container", "vm", "docker", "podman", "qemu"}, runs: insides,
	metrics: []metric{
		{name: "write", title: "sequential write and sync, inside", unit: "MiB/s", more: true, peer: "docker", targets: insideTargets},
		{name: "read", title: "random reads of 4 KiB, direct, inside", unit: "/s", more: true, peer: "docker", targets: insideTargets},
	},
	prepare: giveTools,
	sample: func(b *bench, c contestant, _ int) ([]float64, error) {
		var said struct {
			Jobs []struct{ Read, Write struct{ IOPS, BW float64 } } // bw is in KiB/s
		}
		if err := b.flush(); err != nil { // what the one before has left
			return nil, err
		}
		err := b.ask(c, &said, "fio", "--output-format=json", "--directory=/var/tmp", "--size="+b.ioSize,
			"--name=write", "--rw=write", "--bs=1m", "--ioengine=psync", "--end_fsync=1",
			"--name=read", "--stonewall", "--rw=randread", "--bs=4k", "--direct=1", "--ioengine=libaio", "--iodepth=16",
			"--time_based", "--runtime="+strconv.Itoa(b.ioSeconds))
		if err == nil && len(said.Jobs) != 2 {
			err = errors.New("fio told of other jobs than asked")
		}
		if err != nil {
			return nil, err
		}
		return []float64{said.Jobs[0].Write.BW / 1024, said.Jobs[1].Read.IOPS}, nil
	},
}

var netInside = testCase{
	name: "net", about: "iperf3, one TCP connection to the host over the default network",
	who: []string{"container", "vm", "docker", "podman", "qemu"}, runs: insides,
	metrics: []metric{
		{name: "out", title: "network, from inside to the host", unit: "Gbit/s", more: true, peer: "docker", targets: insideTargets},
		{name: "in", title: "network, from the host to inside", unit: "Gbit/s", more: true, peer: "docker", targets: insideTargets},
	},
	prepare: giveTools,
	sample: func(b *bench, c contestant, _ int) ([]float64, error) {
		var figures []float64
		for _, direction := range []string{"", "-R"} {
			var said struct {
				Error string
				End   struct {
					Received struct {
						Rate float64 `json:"bits_per_second"`
					} `json:"sum_received"`
				}
			}
			call := fmt.Sprintf(`exec iperf3 -J -t %d %s -c "$(ip route | sed -n 's/^default via \([0-9.]*\).*/\1/p')"`, b.ioSeconds, direction)
			if err := b.ask(c, &said, "sh", "-c", call); err != nil {
				return nil, err
			}
			if said.Error != "" {
				return nil, errors.New("iperf3: " + said.Error)
			}
			figures = append(figures, said.End.Received.Rate/1e9)
		}
		return figures, nil
	},
}

func insides(s scale) int { return s.insides }

var insideTargets = []target{{who: "container", peer: "docker", factor: 1}, {who: "vm", peer: "qemu", factor: 1}}

// giveTools gives a contestant the image with the tools, once, and starts the
// server for iperf3.
func giveTools(b *bench, c contestant, _ int) error {
	tar, err := b.asset("bench-tools.tar")
	if err != nil {
		return absence("there is no image with fio and iperf3: mmdebstrap could not make it")
	}
	if b.iperf == nil {
		program, err := exec.LookPath("iperf3")
		if err != nil {
			return absence("iperf3 is not installed")
		}
		if b.iperf, err = b.startDaemon(b.command(nil, program, "-s"), b.path("iperf3.log"), func() error { return nil }); err != nil {
			return err
		}
	}
	if b.tools[c.name()] {
		return nil
	}
	b.tools[c.name()] = true
	return c.load(toolsImage, tar)
}

// ask runs a program that prints JSON, inside, and reads it. A console may say
// more around it.
func (b *bench) ask(c contestant, answer any, argv ...string) error {
	cmd, err := c.run(toolsImage, true, argv...)
	if err != nil {
		return err
	}
	out, err := b.output(cmd)
	begin, end := strings.Index(out, "{"), strings.LastIndex(out, "}")
	if begin < 0 || end < begin {
		return errors.Join(err, fmt.Errorf("%s said no figures: %s", argv[0], firstLine(out)))
	}
	return json.Unmarshal([]byte(out[begin:end+1]), answer)
}
