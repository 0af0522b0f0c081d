package vm

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestShares gives a container in a guest a volume that it fills from the
// image, a read-only directory and a file of the host.
func TestShares(t *testing.T) {
	p := providerOf(t, &fixture.real)
	pl := placement(t, p)
	pl.Layers = layers(t)
	volume, fixed := t.TempDir(), t.TempDir()
	file := filepath.Join(t.TempDir(), "conf")
	for path, content := range map[string]string{filepath.Join(fixed, "f"): "fixed\n", file: "file\n"} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pl.Shares = []kernel.Share{{Tag: "v0", Path: volume}, {Tag: "v1", Path: fixed, ReadOnly: true}, {Tag: "v2", Path: file}}
	k := place(t, p, pl)
	req := create(k, pl, `set -e
cat /etc/which /etc/below /fixed/f /conf
echo guest >/etc/new; ln /etc/new /etc/hard; chown 7:8 /etc/new; echo more >>/conf
mkdir -p /etc/d/e; for i in 1 2 3 4 5 6 7 8 9; do echo $i >/etc/d/e/$i; done; ls /etc/d/e | wc -l; sync
! touch /fixed/x 2>/dev/null; ! touch /conf/x 2>/dev/null; id -u; stat -c %u:%g /etc/which /fixed/f`)
	caps := []string{"CAP_CHOWN"}
	req.Spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	// The image has something at /etc, which an empty volume is filled with.
	for i, m := range []agent.Mount{{Target: "/etc", CopyUp: true}, {Target: "/fixed", ReadOnly: true}, {Target: "/conf"}} {
		m.Type, m.Source = k.Share(i)
		req.Mounts = append(req.Mounts, m)
	}
	begin := time.Now()
	out, exit := run(t, k, req)
	t.Logf("a container's whole life took %v", time.Since(begin))
	if want := "high\nbelow\nfixed\nfile\n9\n0\n0:0\n0:0\n"; out != want || exit.Code != 0 {
		t.Errorf("exit %+v, output %q, want %q", exit, out, want)
	}
	for path, want := range map[string]string{
		filepath.Join(volume, "which"): "high\n", filepath.Join(volume, "hard"): "guest\n", filepath.Join(volume, "d/e/9"): "9\n",
		filepath.Join(fixed, "f"): "fixed\n", file: "file\nmore\n",
	} {
		if b, err := os.ReadFile(path); err != nil || string(b) != want {
			t.Errorf("%s on the host: %q, %v; want %q", path, b, err, want)
		}
	}
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(volume, "new"), &st); err != nil || st.Uid != 7 || st.Gid != 8 {
		t.Errorf("a file that the guest gave away: %d:%d, %v", st.Uid, st.Gid, err)
	}
}
