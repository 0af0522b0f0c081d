package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// A pull begins with an empty store and ends when the image has run: an engine
// that unpacks late pays for it here, too.

var pullDebian = testCase{
	name: "pull", about: "pull of a Debian image from a loopback registry, with a cold store, to the end of its first run",
	who: []string{"container", "docker", "podman"}, runs: batches,
	metrics: pullMetrics("Debian image", 0.4, 0.6),
	prepare: func(b *bench, _ contestant, _ int) error { _, err := b.debianImage(); return err },
	sample: func(b *bench, c contestant, _ int) ([]float64, error) {
		ref, err := b.debianImage()
		if err != nil {
			return nil, err
		}
		return b.pullOnce(c, ref)
	},
}

var pullSmall = testCase{
	name: "pull-small", about: "the same with an image of many small files, a tree of node_modules",
	who: []string{"container", "docker", "podman"}, runs: batches,
	levels:  func(s scale) []int { return []int{s.smallFiles} },
	metrics: pullMetrics("image of small files", 0.25, 0),
	prepare: func(b *bench, _ contestant, files int) error { _, err := b.smallImage(files); return err },
	sample: func(b *bench, c contestant, files int) ([]float64, error) {
		ref, err := b.smallImage(files)
		if err != nil {
			return nil, err
		}
		return b.pullOnce(c, ref)
	},
}

// pullMetrics are the time and what was written, with the factors to reach; 0
// is none.
func pullMetrics(what string, time, disk float64) []metric {
	return []metric{
		{name: "time", title: "pull and run, " + what, unit: "s", peer: "docker", targets: []target{{who: "container", peer: "docker", factor: time}}},
		{name: "disk", title: "written to disk by that, " + what, unit: "MiB", peer: "docker", targets: []target{{who: "container", peer: "docker", factor: disk}}},
	}
}

func (b *bench) debianImage() (string, error) {
	path, err := b.asset("debian-nginx.tar")
	if err != nil {
		return "", err
	}
	return b.registry.image("debian", func(w io.Writer) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	})
}

func (b *bench) smallImage(files int) (string, error) {
	path, err := b.asset("busybox.tar")
	if err != nil {
		return "", err
	}
	return b.registry.image(fmt.Sprintf("small-%d", files), func(w io.Writer) error { return writeSmallFiles(w, path, files) })
}

// pullOnce forgets the image and gets it again. What it wrote is what the disk
// under this run's folder was told to write: also by others, if they do at the
// same time.
func (b *bench) pullOnce(c contestant, ref string) ([]float64, error) {
	pull, err := c.pull(ref)
	if err != nil {
		return nil, err
	}
	_ = c.forget(ref) // there may be none
	defer func() { _ = c.forget(ref) }()
	before, err := b.written()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := b.do(pull); err != nil {
		return nil, err
	}
	run, err := c.run(ref, false, "true")
	if err != nil {
		return nil, err
	}
	if err := b.do(run); err != nil {
		return nil, err
	}
	took := time.Since(begin)
	after, err := b.written()
	return []float64{took.Seconds(), float64(after-before) / mebi}, err
}
