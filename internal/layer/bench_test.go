package layer_test

import (
	"bytes"
	"testing"

	"github.com/opencontainers/go-digest"
)

// BenchmarkAdd is a layer of 256 MiB with its digest, fsync included.
func BenchmarkAdd(b *testing.B) {
	in := archive(b, 1, 256<<20)
	want := digest.FromBytes(in)
	b.SetBytes(int64(len(in)))
	s := open(b, b.TempDir())
	for b.Loop() {
		if _, err := s.Add(b.Context(), bytes.NewReader(in), want); err != nil {
			b.Fatal(err)
		}
		if err := s.Remove(want); err != nil {
			b.Fatal(err)
		}
	}
}
