package initramfs

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/abode-run/abode/internal/kernel/vm/kernels"
)

// debian imports the kernel package that the VM tests have downloaded.
func debian(t *testing.T) kernels.Kernel {
	t.Helper()
	debs, _ := filepath.Glob(filepath.Join(os.TempDir(), "abode-test-cache", "linux-image-*.deb"))
	if len(debs) == 0 {
		t.Skip("no kernel package in the cache; the tests of internal/kernel/vm download one")
	}
	s, err := kernels.Open(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.ImportDeb(t.Context(), debs[0], "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestModulesComeAfterWhatTheyNeed(t *testing.T) {
	k := debian(t)
	mods, err := Modules(k.Modules, Eager)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	var names []string
	for _, m := range mods {
		names = append(names, m.Name)
		for _, d := range m.Depends {
			if !seen[normal(d)] {
				t.Errorf("%s comes before %s, which it needs", m.Name, d)
			}
		}
		seen[m.Name] = true
	}
	for _, want := range []string{"virtio_blk", "virtio_net", "virtio_console", "virtio_rng", "erofs", "overlay", "fuse"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing in %v", want, names)
		}
	}
}

func TestBuildIsCached(t *testing.T) {
	k := debian(t)
	agent := filepath.Join(t.TempDir(), "agent")
	if err := os.WriteFile(agent, []byte("agent"), 0o700); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	first, err := Build(dir, k, agent, "1")
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s has %d bytes", first, fi.Size())
	again, err := Build(dir, k, agent, "1")
	if err != nil || again != first {
		t.Fatalf("second build: %s, %v", again, err)
	}
	if fi2, _ := os.Stat(again); !os.SameFile(fi, fi2) {
		t.Error("it was built again")
	}
	if other, err := Build(dir, k, agent, "2"); err != nil || other == first {
		t.Fatalf("build with another agent: %s, %v", other, err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 2 {
		t.Errorf("files: %v", files)
	}
}
