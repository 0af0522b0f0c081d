package vm

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/vishvananda/netlink"
)

// layers are two EROFS images: busybox, and a file that hides one of it.
func layers(t testing.TB) []kernel.Layer {
	t.Helper()
	dir := t.TempDir()
	script := `set -e
mkdir -p low/bin low/etc low/proc low/dev low/tmp low/sys high/etc
cp /usr/bin/busybox low/bin/busybox
for a in $(low/bin/busybox --list); do [ $a = busybox ] || ln -s busybox low/bin/$a; done
echo low >low/etc/which; echo below >low/etc/below; echo high >high/etc/which
mkfs.erofs low.erofs low; mkfs.erofs high.erofs high`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot make layers: %v: %s", err, out)
	}
	var list []kernel.Layer
	for _, n := range []string{"low.erofs", "high.erofs"} {
		path := filepath.Join(dir, n)
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, kernel.Layer{Path: path, Size: fi.Size()})
	}
	return list
}

// create describes a container as the engine would.
func create(k kernel.Kernel, pl kernel.Placement, script string) *agent.CreateRequest {
	maps := []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(pl.Owner), Size: 65536}}
	return &agent.CreateRequest{
		ID: pl.ID, Hostname: "box", Rootfs: k.Rootfs(), Log: k.Log(),
		Spec: &specs.Spec{
			Process: &specs.Process{Args: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/bin"}, Cwd: "/",
				Capabilities: &specs.LinuxCapabilities{Bounding: []string{"CAP_NET_RAW"}, Effective: []string{"CAP_NET_RAW"}, Permitted: []string{"CAP_NET_RAW"}}},
			Linux: &specs.Linux{UIDMappings: maps, GIDMappings: maps, Namespaces: []specs.LinuxNamespace{
				{Type: specs.UserNamespace}, {Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace},
				{Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.CgroupNamespace}}},
		},
	}
}

// run runs a container to its end and returns its output.
func run(t testing.TB, k kernel.Kernel, req *agent.CreateRequest) (string, agent.Exit) {
	t.Helper()
	call := func(method string, req, resp any) {
		t.Helper()
		if err := k.Agent().Call(t.Context(), method, req, resp); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
	}
	call(agent.MethodCreate, req, nil)
	conn, err := k.Agent().Stream(t.Context(), agent.MethodAttach, agent.AttachRequest{ProcessRequest: agent.ProcessRequest{ID: req.ID}, AttachStreams: agent.AttachStreams{Stdout: true, Stderr: true}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	call(agent.MethodStart, agent.ProcessRequest{ID: req.ID}, nil)
	var out bytes.Buffer
	for {
		_, p, err := agent.ReadIO(conn, nil)
		if err != nil {
			break
		}
		out.Write(p)
	}
	var exit agent.Exit
	call(agent.MethodWait, agent.ProcessRequest{ID: req.ID}, &exit)
	call(agent.MethodDelete, agent.IDRequest{ID: req.ID}, nil)
	return out.String(), exit
}

// TestContainer runs a container of two layers in a guest, by the real agent,
// twice with the same writable disk.
func TestContainer(t *testing.T) {
	p := providerOf(t, &fixture.real)
	pl := placement(t, p)
	pl.Layers = layers(t)
	k := place(t, p, pl)
	begin := time.Now()
	out, exit := run(t, k, create(k, pl, "cat /etc/which /etc/below; id -u; hostname; cat /proc/self/uid_map; echo kept >/kept; exit 7"))
	t.Logf("a container's whole life took %v", time.Since(begin))
	want := fmt.Sprintf("high\nbelow\n0\nbox\n%10d %10d %10d\n", 0, pl.Owner, 65536)
	if out != want || exit.Code != 7 {
		t.Errorf("exit %+v, output %q, want %q", exit, out, want)
	}
	if err := k.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if log, _ := os.ReadFile(pl.Log); !bytes.Contains(log, []byte("below")) {
		t.Errorf("the log holds %q", log)
	}
	if out, err := exec.Command("e2fsck", "-fn", filepath.Join(pl.StateDir, writableName)).CombinedOutput(); err != nil {
		t.Errorf("the writable disk is not clean: %v: %s", err, out)
	}
	k = place(t, p, pl)
	if out, _ := run(t, k, create(k, pl, "cat /kept")); out != "kept\n" {
		t.Errorf("what was written came back as %q", out)
	}
}

// TestNetwork pings the host from a container in a guest, over a tap.
func TestNetwork(t *testing.T) {
	p := providerOf(t, &fixture.real)
	pl := placement(t, p)
	pl.Layers = layers(t)
	addTap(t, &pl)
	k := place(t, p, pl)
	if !fromTemplate(t, pl) {
		t.Error("a guest with a network has no template")
	}
	req := create(k, pl, "ip addr show eth0; ping -c 2 -W 5 198.18.77.1; ip route")
	req.Links = []agent.Link{{Name: k.Link(0), NewName: "eth0", MAC: "02:42:c6:12:4d:02", Addresses: []string{"198.18.77.2/30"}, Gateways: []string{"198.18.77.1"}}}
	out, exit := run(t, k, req)
	if exit.Code != 0 || !strings.Contains(out, "02:42:c6:12:4d:02") || !strings.Contains(out, " 0% packet loss") || !strings.Contains(out, "default via 198.18.77.1") {
		t.Errorf("exit %+v, output:\n%s", exit, out)
	}
}

// addTap gives a placement a tap whose other end is 198.18.77.1.
func addTap(t *testing.T, pl *kernel.Placement) {
	t.Helper()
	link := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "abt-" + pl.ID[:8]}, Mode: netlink.TUNTAP_MODE_TAP,
		Owner: uint32(pl.Owner), Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.LinkDel(link) })
	host := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(198, 18, 77, 1), Mask: net.CIDRMask(30, 32)}}
	if err := netlink.AddrAdd(link, host); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
	pl.NICs = []string{link.Name}
}

// TestMemoryIsEnough has a workload that uses all the memory it was promised.
func TestMemoryIsEnough(t *testing.T) {
	p := providerOf(t, &fixture.real)
	for _, mib := range []int64{64, 512} {
		pl := placement(t, p)
		pl.Memory = mib << 20
		pl.Layers = layers(t)
		k := place(t, p, pl)
		// dd's buffer is memory that is all written to.
		script := fmt.Sprintf("dd if=/dev/zero of=/dev/null bs=%dM count=1 2>&1 && echo enough", mib-2)
		if out, exit := run(t, k, create(k, pl, script)); exit.Code != 0 || !strings.Contains(out, "enough") {
			t.Errorf("%d MiB: exit %+v, output %q", mib, exit, out)
		}
		if err := k.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
