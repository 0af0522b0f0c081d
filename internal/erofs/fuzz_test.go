package erofs_test

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/abode-run/abode/internal/erofs"
)

// Whatever comes in, a file system that can be read goes out, or an error that
// blames the archive. Run it with -fuzzminimizetime 10x: the coverage of maps
// varies, and the fuzzer would minimize inputs for ever.
func FuzzWriter(f *testing.F) {
	for _, seed := range features() {
		if packed := archive(f, seed.entries...); len(packed) < 32<<10 { // the fuzzer is slow with long ones
			f.Add(packed)
		}
	}
	f.Add(archive(f, file("holey", noise(10)+strings.Repeat("\x00", 8192)), hardlink("again", "holey")))
	f.Add(sparse("hole", 100_000))
	f.Add(archive(f, file("prose", prose(20_000)), file("twice", "1"), file("twice", prose(17_000)), file(".wh.gone", "data")))
	if packed, err := gnuSeed(f); err == nil {
		f.Add(packed)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		opts := erofs.Options{MaxEntries: 1000, MaxBytes: 4 << 20, MaxMetadata: 1 << 20}
		image := &memory{}
		info, err := erofs.FromTar(context.Background(), image, bytes.NewReader(in), opts)
		if err != nil {
			if !errors.Is(err, erofs.ErrTar) && !errors.Is(err, erofs.ErrLimit) || !strings.HasPrefix(err.Error(), "cannot ") {
				t.Fatalf("the error is of another kind: %v", err)
			}
			return
		}
		if info.Size != int64(len(image.data)) || info.Size%4096 != 0 {
			t.Fatalf("%d bytes written, %d said", len(image.data), info.Size)
		}
		inImage(t, bytes.NewReader(image.data))
		again := &memory{}
		if _, err := erofs.FromTar(context.Background(), again, bytes.NewReader(in), opts); err != nil || !bytes.Equal(image.data, again.data) {
			t.Fatalf("the second time it is different (%v)", err)
		}
		opts.Compress, opts.Recipe = true, true
		layer := &memory{}
		if _, err := erofs.FromTar(context.Background(), layer, bytes.NewReader(in), opts); err != nil {
			t.Fatalf("compressed, it fails: %v", err)
		}
		var back bytes.Buffer
		if err := erofs.WriteTar(context.Background(), &back, bytes.NewReader(layer.data)); err != nil || !bytes.Equal(back.Bytes(), in) {
			t.Fatalf("the archive is not given back (%v)", err)
		}
	})
}

// gnuSeed is an archive that GNU tar makes: sparse files in its old format.
func gnuSeed(f *testing.F) ([]byte, error) {
	return exec.Command("tar", "--format=gnu", "--sparse", "-C", "/etc", "-cf", "-", "hostname", "passwd").Output()
}

// Whatever a damaged file system holds, reading it ends, with an error or with
// something.
func FuzzWriteTar(f *testing.F) {
	var seed memory
	packed := archive(f, file("prose", prose(20_000)), file("small", "1"), file("holey", noise(10)+strings.Repeat("\x00", 140_000)), symlink("s", "t"))
	if _, err := erofs.FromTar(context.Background(), &seed, bytes.NewReader(packed), erofs.Options{Compress: true, Recipe: true}); err != nil {
		f.Fatal(err)
	}
	f.Add(seed.data)
	f.Fuzz(func(t *testing.T, image []byte) {
		w := &counter{left: 1 << 20}
		if err := erofs.WriteTar(context.Background(), w, bytes.NewReader(image)); err != nil && !strings.HasPrefix(err.Error(), "cannot ") {
			t.Fatalf("the error is of another kind: %v", err)
		}
	})
}

// A counter takes so many bytes and then no more.
type counter struct{ left int }

func (c *counter) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}
