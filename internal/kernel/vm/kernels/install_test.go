package kernels

import (
	"os"
	"os/exec"
	"testing"
)

// TestInstall downloads the distribution's kernel as a user would, where that
// is possible. It is told apart from a failure by asking apt first.
func TestInstall(t *testing.T) {
	if os.Getuid() != 0 || testing.Short() {
		t.Skip("needs root and a download")
	}
	if err := exec.Command("apt-get", "-q", "--print-uris", "download", "linux-image-cloud-amd64").Run(); err != nil {
		t.Skip("apt knows no kernel package here")
	}
	s := open(t)
	var said []string
	k, err := s.Install(t.Context(), "", func(msg string) { said = append(said, msg) })
	if err != nil {
		t.Fatal(err)
	}
	if len(said) < 3 {
		t.Errorf("progress: %q", said)
	}
	if got, err := s.Get(""); err != nil || got.Name != k.Name {
		t.Errorf("the default is %+v, %v", got, err)
	}
	// A second time there is nothing to do.
	if again, err := s.Install(t.Context(), "", nil); err != nil || again.Name != k.Name {
		t.Errorf("second install: %+v, %v", again, err)
	}
	if left, _ := os.ReadDir(s.dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := s.Install(t.Context(), "9.9.9-none", nil); err == nil {
		t.Error("a version that there is not was installed")
	}
	if _, err := s.Install(t.Context(), "-o=x", nil); err == nil {
		t.Error("an option was taken for a version")
	}
}
