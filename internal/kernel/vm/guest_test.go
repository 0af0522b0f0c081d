package vm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
)

// request is what internal/testagent takes.
type request struct {
	Path, Target, Type, Data string
	Offset                   int64
	Size                     int
}

func do(t testing.TB, k kernel.Kernel, method string, r request) {
	t.Helper()
	if err := k.Agent().Call(t.Context(), method, r, nil); err != nil {
		t.Fatalf("%s %+v: %v", method, r, err)
	}
}

func read(t testing.TB, k kernel.Kernel, path string, offset int64, size int) []byte {
	t.Helper()
	var b []byte
	if err := k.Agent().Call(t.Context(), "test.read", request{Path: path, Offset: offset, Size: size}, &b); err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	return b
}

// TestColdBoot boots without a template.
func TestColdBoot(t *testing.T) {
	p := provider(t)
	pl := placement(t, p)
	pl.NoTemplate = true
	k := place(t, p, pl)
	var i agent.InfoResponse
	if err := k.Agent().Call(t.Context(), agent.MethodInfo, nil, &i); err != nil {
		t.Fatal(err)
	}
	if !i.Guest || i.PID != 1 || i.KernelRelease == "" {
		t.Errorf("info: %+v", i)
	}
	if mods := string(read(t, k, "/proc/modules", 0, 1<<16)); !strings.Contains(mods, "erofs ") || !strings.Contains(mods, "overlay ") {
		t.Errorf("modules: %s", mods)
	}
	if c := string(read(t, k, "/sys/fs/cgroup/cgroup.subtree_control", 0, 1000)); !strings.Contains(c, "memory") || !strings.Contains(c, "pids") || !strings.Contains(c, "cpu") {
		t.Errorf("cgroup controllers: %q", c)
	}
}

// TestModulesOnDemand makes the kernel ask for one that is not loaded at boot.
func TestModulesOnDemand(t *testing.T) {
	p := provider(t)
	k := place(t, p, placement(t, p))
	if mods := string(read(t, k, "/proc/modules", 0, 1<<16)); strings.Contains(mods, "nfnetlink ") {
		t.Fatal("it is there already")
	}
	do(t, k, "test.socket", request{})
	if mods := string(read(t, k, "/proc/modules", 0, 1<<16)); !strings.Contains(mods, "nfnetlink ") {
		t.Errorf("modules: %s", mods)
	}
}

// TestHypervisorHasNoRights looks at what the hypervisor could do if its guest took it over.
func TestHypervisorHasNoRights(t *testing.T) {
	p := provider(t)
	pl := placement(t, p)
	k := place(t, p, pl)
	pid := k.Processes()[0]
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	owner := strconv.Itoa(pl.Owner)
	for _, want := range []string{
		"Uid:\t" + owner + "\t" + owner + "\t" + owner + "\t" + owner, "Gid:\t" + owner,
		"Groups:\t \n", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("status lacks %q:\n%s", want, status)
		}
	}
	// The template's memory cannot be written through the hypervisor's own descriptors.
	found := false
	fds, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/fd/*")
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); !strings.Contains(to, "template-memory") {
			continue
		}
		found = true
		f, err := os.OpenFile(fd, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if _, err := f.WriteAt([]byte{1}, 0); err == nil {
			t.Error("the template's memory can be written")
		}
		if err := f.Truncate(0); err == nil {
			t.Error("the template's memory can be cut")
		}
		f.Close()
	}
	if !found {
		t.Error("the hypervisor has no template")
	}
}

// TestDisks checks what the guest sees of the layers, what it can write, and
// that its disk is clean after release.
func TestDisks(t *testing.T) {
	p := provider(t)
	pl := placement(t, p)
	var want []byte
	rnd := rand.NewChaCha8([32]byte{1})
	for i, size := range []int{4096, 3 << 20, 8192} {
		b := make([]byte, size)
		rnd.Read(b)
		want = append(want, b...)
		path := filepath.Join(t.TempDir(), "layer"+strconv.Itoa(i))
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		pl.Layers = append(pl.Layers, kernel.Layer{Path: path, Size: int64(size)})
	}
	k := place(t, p, pl)
	root := k.Rootfs()
	if len(root.Layers) != 3 || root.Layers[2].Offset != 4096+3<<20 || root.Layers[2].Size != 8192 {
		t.Errorf("layers: %+v", root.Layers)
	}
	got := read(t, k, "/dev/vda", 0, len(want)+4096)
	if !bytes.Equal(got[:len(want)], want) {
		t.Error("the image disk does not hold the layers")
	}
	if !bytes.Equal(got[len(want):], make([]byte, 4096)) {
		t.Error("there is something behind the layers")
	}
	if err := k.Agent().Call(t.Context(), "test.write", request{Path: "/dev/vda", Data: "x"}, nil); err == nil {
		t.Error("the image disk could be written")
	}

	do(t, k, "test.mount", request{Path: root.Upper.Device, Target: "/mnt", Type: "ext4", Data: "discard"})
	do(t, k, "test.write", request{Path: "/mnt/file", Data: strings.Repeat("kept", 1000)})
	do(t, k, "test.write", request{Path: "/mnt/large", Data: strings.Repeat("0123456789abcdef", 400_000)})
	do(t, k, "test.sync", request{})
	disk := filepath.Join(pl.StateDir, writableName)
	full := allocated(t, disk)
	do(t, k, "test.remove", request{Path: "/mnt/large"})
	do(t, k, "test.write", request{Path: k.Log(), Data: "to the log"})
	if err := k.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(pl.Log); string(b) != "to the log" {
		t.Errorf("the log holds %q", b)
	}
	if out, err := exec.Command("e2fsck", "-fn", disk).CombinedOutput(); err != nil {
		t.Errorf("the writable disk is not clean: %v: %s", err, out)
	}
	if out, err := exec.Command("debugfs", "-R", "cat /file", disk).Output(); err != nil || string(out) != strings.Repeat("kept", 1000) {
		t.Errorf("the file came back with %d bytes: %v", len(out), err)
	}
	if now := allocated(t, disk); now > full-5<<20 {
		t.Errorf("freed blocks were not given back: %d bytes, before %d", now, full)
	}
}

func allocated(t testing.TB, file string) int64 {
	t.Helper()
	out, err := exec.Command("stat", "-c", "%b", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n * 512
}

// TestClones starts several guests from one template at once.
func TestClones(t *testing.T) {
	p := provider(t)
	place(t, p, placement(t, p)) // so that the template is there
	const n = 4
	type result struct {
		k   kernel.Kernel
		err error
		pl  kernel.Placement
	}
	results := make(chan result)
	for range n {
		pl := placement(t, p)
		go func() {
			k, err := p.Place(t.Context(), pl)
			results <- result{k, err, pl}
		}()
	}
	seen := map[string]string{}
	for range n {
		r := <-results
		if r.err != nil {
			t.Error(r.err)
			continue
		}
		t.Cleanup(func() { r.k.Release(context.Background()); checkGone(t, r.pl) })
		rec, err := readRecord(r.pl.RunDir, r.pl.ID)
		if err != nil || !rec.Template {
			t.Errorf("not from the template: %+v %v", rec, err)
		}
		for _, secret := range []string{"/dev/urandom", "/proc/sys/kernel/random/boot_id", "/proc/sys/kernel/random/uuid", "/etc/machine-id"} {
			b := hex.EncodeToString(read(t, r.k, secret, 0, 32))
			if seen[b] != "" {
				t.Errorf("%s is the same in two guests", secret)
			}
			seen[b] = secret
		}
		sum := sha256.Sum256([]byte(r.pl.ID))
		if id := string(read(t, r.k, "/etc/machine-id", 0, 32)); id != hex.EncodeToString(sum[:16]) {
			t.Errorf("machine ID %s", id)
		}
	}
}

// TestKilledHypervisor ends one the hard way, in the middle of writing.
func TestKilledHypervisor(t *testing.T) {
	p := provider(t)
	pl := placement(t, p)
	k := place(t, p, pl)
	do(t, k, "test.mount", request{Path: "/dev/vdb", Target: "/mnt", Type: "ext4"})
	do(t, k, "test.write", request{Path: "/mnt/synced", Data: "synced"})
	do(t, k, "test.sync", request{})
	do(t, k, "test.write", request{Path: "/mnt/not-synced", Data: "lost"})
	proc, err := os.FindProcess(k.Processes()[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := proc.Kill(); err != nil {
		t.Fatal(err)
	}
	wait(t, k.Done())
	if err := k.Agent().Call(t.Context(), agent.MethodInfo, nil, nil); err == nil {
		t.Error("the agent of a dead guest answers")
	}
	if err := k.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkGone(t, pl)

	// The journal has what was synced, and the container can be started again.
	k = place(t, p, pl)
	do(t, k, "test.mount", request{Path: "/dev/vdb", Target: "/mnt", Type: "ext4"})
	if b := read(t, k, "/mnt/synced", 0, 100); string(b) != "synced" {
		t.Errorf("the file holds %q", b)
	}
}

// TestPanic lets the guest's kernel panic.
func TestPanic(t *testing.T) {
	p := provider(t)
	pl := placement(t, p)
	k := place(t, p, pl)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := k.Agent().Call(ctx, "test.write", request{Path: "/proc/sysrq-trigger", Data: "c"}, nil); err == nil {
		t.Error("the guest did not panic")
	}
	wait(t, k.Done())
}

func wait(t testing.TB, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(30 * time.Second):
		t.Fatal("nothing happened for 30 s")
	}
}
