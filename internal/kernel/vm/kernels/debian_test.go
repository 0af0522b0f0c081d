package kernels

import (
	"os"
	"path/filepath"
	"testing"
)

// TestDebian imports a real package, when one was downloaded before
// (test/guestkernel or the VM tests do).
func TestDebian(t *testing.T) {
	debs, _ := filepath.Glob(filepath.Join(os.TempDir(), "abode-test-cache", "linux-image-*.deb"))
	if len(debs) == 0 {
		t.Skip("no kernel package in the cache; the tests of internal/kernel/vm download one")
	}
	s := open(t)
	k, err := s.ImportDeb(t.Context(), debs[0], "", func(msg string) { t.Log(msg) })
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"virtio_blk", "erofs", "overlay"} {
		if _, err := os.Stat(filepath.Join(k.Modules, m+".ko")); err != nil {
			t.Error(err)
		}
	}
}
