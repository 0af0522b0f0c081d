package erofs_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/abode-run/abode/internal/erofs"
)

func benchmark(b *testing.B, archive []byte) {
	for name, opts := range map[string]erofs.Options{"plain": {}, "layer": {Compress: true, Recipe: true}} {
		b.Run(name, func(b *testing.B) { benchmarkWith(b, archive, opts) })
	}
}

func benchmarkWith(b *testing.B, archive []byte, opts erofs.Options) {
	b.SetBytes(int64(len(archive)))
	b.ReportAllocs()
	path := filepath.Join(b.TempDir(), "image")
	for b.Loop() {
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := erofs.FromTar(context.Background(), f, bytes.NewReader(archive), opts); err != nil {
			b.Fatal(err)
		}
		f.Close()
		os.Remove(path)
	}
}

// A Debian root file system, without the disk's part (no fsync).
func BenchmarkDebian(b *testing.B) {
	archive, err := os.ReadFile(debian(b))
	if err != nil {
		b.Fatal(err)
	}
	benchmark(b, archive)
}

// What many small files cost.
func BenchmarkSmallFiles(b *testing.B) {
	var entries []entry
	for i := range 20_000 {
		entries = append(entries, file(fmt.Sprintf("dir %d/file %d", i/100, i), noise(i%3000)))
	}
	benchmark(b, archive(b, entries...))
}
