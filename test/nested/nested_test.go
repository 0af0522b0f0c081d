// Package nested runs the engine inside a virtual machine that the engine
// boots: there the host has cgroup v2, and KVM that runs kernels at speed,
// whatever the machine of the tests has. The outer machine is emulated, so that
// the cases are few, and slow.
package nested

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/abode-run/abode/internal/kernel/vm/initramfs"
	"github.com/abode-run/abode/test/harness"
)

// machine is the container in which the inner engine lives. It has one CPU: with
// two, QEMU 7.2 emulates KVM's world switch wrongly now and then. The outer
// kernel goes on with the inner guest's GS base, and panics or hangs (2 of 6
// runs did; with one CPU none of 7).
const machine = "machine"

// hostModules are what the outer kernel needs to be a host.
var hostModules = []string{"loop", "tun", "kvm", "kvm_amd"}

func TestNested(t *testing.T) {
	if testing.Short() {
		t.Skip("boots an emulated machine in which an engine runs: minutes")
	}
	e := harness.Start(t)
	if err := e.Prepare(); err != nil {
		t.Fatal(err)
	}
	start(t, e)
	t.Run("cgroup v2", func(t *testing.T) {
		parity(t, e, "container/^(smoke|run|exec|limits|pause|privileged)$", "Cgroup version: 2")
	})
	t.Run("KVM", func(t *testing.T) {
		parity(t, e, "vm/^smoke$", "accelerator kvm")
	})
}

// start brings the machine up, with what the inner engine and its tests need.
func start(t *testing.T, e *harness.Engine) {
	bin, err := harness.Bin()
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Abs("../parity")
	if err != nil {
		t.Fatal(err)
	}
	setup, err := filepath.Abs("testdata/setup.sh")
	if err != nil {
		t.Fatal(err)
	}
	input := inputs(t, e)
	hostImage(t, e)
	e.Abode(t, "run", "-d", "--name", machine, "--isolation", "vm", "--privileged", "-m", "5g", "--cpus", "1",
		"-v", "/usr:/usr:ro", "-v", bin+":/bin.abode:ro", "-v", input+":/input:ro", "-v", scripts+":/scripts:ro", "-v", setup+":/setup.sh:ro",
		"-e", "ABODE_BIN=/bin.abode", "-e", "ABODE_CACHE=/input", "-e", "TMPDIR=/work",
		"host", "sleep", "infinity")
	t.Logf("%s", e.Abode(t, "exec", machine, "sh", "/setup.sh"))
}

// hostImage makes an image whose programs are this host's own.
func hostImage(t *testing.T, e *harness.Engine) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h *tar.Header, content string) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(content))
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		add(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: "usr/" + name, Mode: 0o777}, "")
	}
	for _, name := range []string{"etc", "proc", "sys", "dev", "tmp", "run", "usr", "work"} {
		add(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}, "")
	}
	add(&tar.Header{Name: "etc/passwd", Mode: 0o644}, "root:x:0:0:root:/root:/bin/sh\n")
	add(&tar.Header{Name: "etc/group", Mode: 0o644}, "root:x:0:\n")
	w.Close()
	cmd := e.Command(context.Background(), "import", "-", "host")
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// inputs collects what the machine reads: the parity suite, the image busybox,
// the guest kernel with the modules that a guest loads at boot alone (an
// emulated machine takes a minute to unpack them all), and its own modules.
func inputs(t *testing.T, e *harness.Engine) string {
	dir := t.TempDir()
	build := exec.Command("go", "test", "-c", "-o", filepath.Join(dir, "parity.test"), "../parity")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the parity suite: %v\n%s", err, out)
	}
	busybox, err := harness.Asset("busybox.tar")
	if err != nil {
		t.Fatal(err)
	}
	copyFile(t, busybox, filepath.Join(dir, "busybox.tar"))
	stored, err := filepath.Glob(filepath.Join(e.Root, "kernels", "*", "vmlinuz"))
	if err != nil || len(stored) != 1 {
		t.Fatal(stored, err)
	}
	guest := filepath.Join(dir, "kernel", "linux-image-guest")
	modules(t, filepath.Dir(stored[0]), guest, initramfs.Eager)
	copyFile(t, stored[0], filepath.Join(guest, "vmlinuz"))
	modules(t, filepath.Dir(stored[0]), filepath.Join(dir, "modules"), hostModules)
	return dir
}

// modules writes the modules called names, and their order, to a folder.
func modules(t *testing.T, from, to string, names []string) {
	list, err := initramfs.Modules(from, names)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	var order strings.Builder
	for _, m := range list {
		order.WriteString(m.Name + "\n")
		if err := os.WriteFile(filepath.Join(to, m.Name+".ko"), m.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(to, "order"), []byte(order.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// parity runs cases of the parity suite in the machine, whose engine must say
// of itself what is wanted (see smoke.txtar).
func parity(t *testing.T, e *harness.Engine, cases, wanted string) {
	ctx, cancel := context.WithTimeout(context.Background(), 12*time.Minute)
	defer cancel()
	out, err := e.Command(ctx, "exec", "-w", "/scripts", machine, "/input/parity.test", "-test.v", "-test.run", "^TestParity$/"+cases).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestParity/")) || !bytes.Contains(out, []byte(wanted)) {
		t.Errorf("%v\n%s", err, out)
		diagnose(t, e)
		return
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "--- PASS") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// diagnose shows the machine as a failure has left it.
func diagnose(t *testing.T, e *harness.Engine) {
	for _, args := range [][]string{
		{"ps", "-a"}, {"logs", machine},
		{"exec", machine, "sh", "-c", "ps -eo pid,ppid,stat,pcpu,rss,wchan:24,args | tail -n 40; dmesg | tail -n 60; free -m"},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		out, err := e.Command(ctx, args...).CombinedOutput()
		cancel()
		t.Logf("abode %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
