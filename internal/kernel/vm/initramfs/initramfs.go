// Package initramfs makes the file system that a guest boots from: the agent
// as /init and the kernel modules it loads, in the order in which they must be
// loaded. It is small, because it stays in the memory of every guest.
package initramfs

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/abode-run/abode/internal/kernel/vm/kernels"
)

// layout changes when what Build writes does.
const layout = "3"

// Paths inside the guest.
const (
	ModuleDir = "/lib/modules" // modules, as NAME.ko
	EagerList = "/lib/modules/eager"
	LazyList  = "/lib/modules/lazy"  // lines "NAME DEPENDENCY…"
	AliasList = "/lib/modules/alias" // lines "ALIAS-PATTERN NAME"
)

// Eager modules are loaded at boot: the devices that every guest has, and the
// file systems that a container's root is made of. Those that need not be
// modules (ext4 in Debian's kernel) are left out silently.
var Eager = []string{
	"virtio_mmio", "virtio_console", "virtio_blk", "virtio_net", "virtio_rng",
	"crc32c_generic", "erofs", "overlay", "ext4", "fuse", "af_packet", "ipv6", "unix",
}

// Lazy modules are loaded when something in the guest first needs them: what a
// workload with CAP_NET_ADMIN or a nested container engine asks for. They lie
// in the guest's memory, all together 7 MB, which clones of a template share.
var Lazy = []string{
	"nf_tables", "nft_*", "nf_nat", "nf_conntrack", "nf_conntrack_netlink", "nf_log_syslog", "nf_reject_ipv4", "nf_reject_ipv6",
	"nfnetlink", "nfnetlink_log", "nfnetlink_queue", "x_tables", "xt_*", "ip_tables", "iptable_*", "ipt_*", "ip6_tables", "ip6table_*", "ip6t_*",
	"bridge", "br_netfilter", "veth", "tun", "dummy", "macvlan", "ipvlan", "vxlan", "wireguard", "8021q",
	"unix_diag", "inet_diag", "tcp_diag", "udp_diag", "netlink_diag", "af_packet_diag",
	"loop", "binfmt_misc", "tcp_bbr", "sch_fq", "sch_fq_codel", "sch_htb", "sch_ingress", "sch_netem", "sch_tbf", "cls_u32", "cls_bpf",
}

// Build returns the path of the initramfs for the kernel and the agent,
// made now or earlier, below dir. It may be called concurrently.
func Build(dir string, k kernels.Kernel, agent, agentSum string) (string, error) {
	sum := sha256.Sum256([]byte(layout + "\n" + k.SHA256 + "\n" + agentSum + "\n"))
	file := filepath.Join(dir, hex.EncodeToString(sum[:16])+".cpio")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("cannot make the initramfs: %w", err)
	}
	tmp, err := os.CreateTemp(dir, ".tmp-")
	if err != nil {
		return "", fmt.Errorf("cannot make the initramfs: %w", err)
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	w := bufio.NewWriterSize(tmp, 1<<20)
	if err := write(w, k, agent); err != nil {
		return "", fmt.Errorf("cannot make the initramfs for kernel %s: %w", k.Name, err)
	}
	if err := w.Flush(); err != nil {
		return "", fmt.Errorf("cannot write the initramfs: %w", err)
	}
	if err := tmp.Chmod(0o644); err != nil {
		return "", fmt.Errorf("cannot write the initramfs: %w", err)
	}
	if err := tmp.Sync(); err != nil {
		return "", fmt.Errorf("cannot write the initramfs: %w", err)
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return "", fmt.Errorf("cannot write the initramfs: %w", err)
	}
	return file, nil
}

func write(w io.Writer, k kernels.Kernel, agent string) error {
	program, err := os.ReadFile(agent)
	if err != nil {
		return fmt.Errorf("cannot read the agent: %w", err)
	}
	eager, err := Modules(k.Modules, Eager)
	if err != nil {
		return err
	}
	c := &cpioWriter{w: w}
	for _, d := range []string{"dev", "proc", "sys", "run", "tmp", "etc", "lib", "lib/modules", "sbin"} {
		c.dir(d)
	}
	c.char("dev/console", 5, 1) // the kernel opens it for init before anything is mounted
	c.char("dev/null", 1, 3)
	c.file("init", 0o755, program)
	c.link("sbin/modprobe", "/init") // the kernel asks it for lazy modules
	loaded := map[string]bool{}
	var list, lazyList, aliases strings.Builder
	for _, m := range eager {
		c.module(m)
		list.WriteString(m.Name + "\n")
		loaded[m.Name] = true
	}
	lazy, err := Modules(k.Modules, Lazy)
	if err != nil {
		return err
	}
	for _, m := range lazy {
		if loaded[m.Name] {
			continue
		}
		c.module(m)
		lazyList.WriteString(m.Name)
		for _, d := range m.Depends {
			lazyList.WriteString(" " + normal(d))
		}
		lazyList.WriteString("\n")
		for _, a := range m.Aliases {
			if !strings.ContainsAny(a, ": \n") { // those of devices need a bus that guests have not
				aliases.WriteString(normal(a) + " " + m.Name + "\n")
			}
		}
	}
	c.file(strings.TrimPrefix(EagerList, "/"), 0o600, []byte(list.String()))
	c.file(strings.TrimPrefix(LazyList, "/"), 0o600, []byte(lazyList.String()))
	c.file(strings.TrimPrefix(AliasList, "/"), 0o600, []byte(aliases.String()))
	return c.close()
}

func (c *cpioWriter) module(m Module) {
	c.file(strings.TrimPrefix(ModuleDir, "/")+"/"+m.Name+".ko", 0o600, m.Data)
}
