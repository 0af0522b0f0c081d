package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// TestLink gives a container one end of a veth pair and talks to it.
func TestLink(t *testing.T) {
	h := startAgent(t)
	name := fmt.Sprintf("abt%d", os.Getpid()%100000)
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Skipf("cannot make a veth pair: %v", err)
	}
	t.Cleanup(func() { netlink.LinkDel(veth) })
	addr, _ := netlink.ParseAddr("10.213.7.1/24")
	if err := netlink.AddrAdd(veth, addr); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(veth); err != nil {
		t.Fatal(err)
	}
	req := h.container("ip -o addr show eth0; ip route; ip link show eth0; ip -o link show lo; ping -c1 -W5 10.213.7.1 >/dev/null && echo pong; echo up; sleep 1000")
	req.Links = []agent.Link{{Name: name + "p", NewName: "eth0", MAC: "02:42:0a:d5:07:02", MTU: 1400, Addresses: []string{"10.213.7.2/24"}, Gateways: []string{"10.213.7.1"}}}
	a := h.running(req)
	for _, want := range []string{"inet 10.213.7.2/24", "default via 10.213.7.1 dev eth0", "02:42:0a:d5:07:02", "mtu 1400", "LOOPBACK,UP", "pong"} {
		if !strings.Contains(a.out(), want) {
			t.Errorf("no %q in %q", want, a.out())
		}
	}
	var s agent.StatsResponse
	h.must(agent.MethodStats, agent.IDRequest{ID: req.ID}, &s)
	if s.Networks["eth0"].RxBytes == 0 || s.Networks["eth0"].TxPackets == 0 {
		t.Errorf("%+v", s.Networks)
	}
}

// TestSharedNamespaces runs with the kernel's own namespaces, and with another container's.
func TestSharedNamespaces(t *testing.T) {
	both(t, func(t *testing.T, h *hostAgent, adapt func(*agent.CreateRequest) *agent.CreateRequest) {
		without := func(req *agent.CreateRequest, kinds ...specs.LinuxNamespaceType) *agent.CreateRequest {
			req.Spec.Linux.Namespaces = slices.DeleteFunc(req.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return slices.Contains(kinds, n.Type) })
			return req
		}
		req := adapt(without(h.container("readlink /proc/self/ns/net; [ $$ -gt 1 ] && echo host pids; cat /proc/1/comm >/dev/null && echo sees"), specs.PIDNamespace, specs.NetworkNamespace, specs.IPCNamespace))
		if out := h.output(req); !strings.Contains(out, readlink(t, "/proc/self/ns/net")) || !strings.Contains(out, "host pids\nsees") {
			t.Errorf("%q", out)
		}
		first := adapt(h.container(idle))
		var p agent.ProcessResponse
		h.must(agent.MethodCreate, first, &p)
		h.must(agent.MethodStart, agent.ProcessRequest{ID: first.ID}, nil)
		second := adapt(h.container("readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; hostname"))
		for i, n := range second.Spec.Linux.Namespaces {
			if n.Type == specs.NetworkNamespace || n.Type == specs.IPCNamespace {
				second.Spec.Linux.Namespaces[i].Path = agent.JoinPrefix + first.ID
			}
		}
		want := readlink(t, fmt.Sprintf("/proc/%d/ns/net", p.PID)) + "\n" + readlink(t, fmt.Sprintf("/proc/%d/ns/ipc", p.PID)) + "\nbox\n"
		if out := h.output(second); out != want {
			t.Errorf("got %q, want %q", out, want)
		}
	})
}

func readlink(t *testing.T, p string) string {
	t.Helper()
	s, err := os.Readlink(p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestManyLayers stacks as many layers as Docker allows.
func TestManyLayers(t *testing.T) {
	both(t, func(t *testing.T, h *hostAgent, adapt func(*agent.CreateRequest) *agent.CreateRequest) {
		small := secondLayer(t)
		b, err := os.ReadFile(small)
		if err != nil {
			t.Fatal(err)
		}
		req := adapt(h.container("echo deep; ls /opt"))
		for i := range 126 {
			p := filepath.Join(filepath.Dir(small), fmt.Sprint(i))
			if err := os.WriteFile(p, b, 0o644); err != nil {
				t.Fatal(err)
			}
			req.Rootfs.Layers = append(req.Rootfs.Layers, agent.Layer{Path: p})
		}
		if out := h.output(req); out != "deep\n" {
			t.Errorf("%q", out)
		}
	})
}

// TestLoopDevice has a layer on a file system from which EROFS cannot be
// mounted straight, and wants the loop device gone with the container.
func TestLoopDevice(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	h := startAgent(t)
	p := filepath.Join(dir, "layer")
	copyFile(t, layer(t), p)
	req := h.container("echo looped")
	req.Rootfs.Layers = []agent.Layer{{Path: p}}
	if out := h.output(req); out != "looped\n" {
		t.Errorf("%q", out)
	}
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, f := range files {
		if b, _ := os.ReadFile(f); strings.HasPrefix(string(b), dir) {
			t.Errorf("%s is still %s", f, b)
		}
	}
}

// TestBlockDevice stacks two layers out of parts of one disk and writes to an
// ext4 disk, as in a guest.
func TestBlockDevice(t *testing.T) {
	h := startAgent(t)
	dir := t.TempDir()
	one, err := os.ReadFile(layer(t))
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(secondLayer(t))
	if err != nil {
		t.Fatal(err)
	}
	pad := func(b []byte) []byte { return append(b, make([]byte, (4096-len(b)%4096)%4096)...) }
	one, two = pad(one), pad(two)
	disk := append(append(make([]byte, 1<<20), one...), two...)
	os.WriteFile(filepath.Join(dir, "disk"), disk, 0o600)
	if out, err := exec.Command("sh", "-c", "truncate -s 64M "+dir+"/rw && mkfs.ext4 -q "+dir+"/rw").CombinedOutput(); err != nil {
		t.Skipf("mkfs.ext4: %v: %s", err, out)
	}
	ro, rw := losetup(t, filepath.Join(dir, "disk")), losetup(t, filepath.Join(dir, "rw"))
	req := h.container("echo x > /etc/plain; cat /etc/plain; ls -d /opt; df -T / >/dev/null; stat -c %u /etc/plain")
	req.Rootfs = agent.Rootfs{
		Layers: []agent.Layer{{Path: ro, Offset: 1 << 20, Size: int64(len(one))}, {Path: ro, Offset: 1<<20 + int64(len(one)), Size: int64(len(two))}},
		Upper:  agent.Upper{Device: rw},
	}
	if out := h.output(req); out != "x\n/opt\n0\n" {
		t.Errorf("%q", out)
	}
}

func losetup(t *testing.T, p string) string {
	t.Helper()
	out, err := exec.Command("losetup", "-fP", "--show", p).Output()
	if err != nil {
		t.Skipf("losetup: %v", err)
	}
	dev := strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "-d", dev).Run() })
	return dev
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
}
