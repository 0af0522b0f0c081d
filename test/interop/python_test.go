package interop

import (
	"os/exec"
	"testing"
)

// Python's library, Debian's python3-docker, is what docker-compose 1 and many
// scripts use.
func TestPythonClient(t *testing.T) {
	if err := exec.Command("python3", "-c", "import docker").Run(); err != nil {
		t.Fatalf("python3-docker is not installed: %v: run make deps", err)
	}
	for _, isolation := range isolations {
		t.Run(isolation, func(t *testing.T) {
			t.Parallel()
			if r := call(t, "", "python3", "testdata/client.py", isolation); r.code != 0 {
				t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
			}
		})
	}
}
