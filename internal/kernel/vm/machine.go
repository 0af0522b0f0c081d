package vm

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	agentguest "github.com/abode-run/abode/internal/agent/guest"
	"github.com/abode-run/abode/internal/kernel/vm/accel"
)

// Names of sockets in a placement's run directory.
const (
	agentSocket = "agent.sock"
	shareSocket = "share.sock"
)

// A machine says what one hypervisor gets. All files are open already; start
// closes them.
type machine struct {
	shape
	name   string // tells processes apart; appears in their arguments
	owner  int    // user and group ID of the hypervisor
	runDir string // for sockets

	tscKHz   int64 // for a boot
	image    image // in fds
	writable *os.File
	log      *os.File // write-only, appending
	tap      *os.File

	memory   *os.File // what the guest's memory is backed by; nil: anonymous
	shared   bool     // writes go to that file: a template is being made
	incoming *os.File // the state to begin with; nil: boot
	// incomingFD is its number in the hypervisor, once started.
	incomingFD string
	monitor    *os.File // the hypervisor's end; nil: it has none

	fds fdTable
}

// image is QEMU's driver and file for the image disk.
type image struct{ driver, file string }

// fdTable collects files that a hypervisor inherits, or is handed later.
type fdTable struct {
	files []*os.File
	args  []string
	later int // than how many others' numbers its own come
}

// raw hands f over and returns its number in the hypervisor.
func (t *fdTable) raw(f *os.File) string {
	t.files = append(t.files, f)
	return strconv.Itoa(2 + t.later + len(t.files))
}

// add hands f over and returns a path by which QEMU opens it, with the access
// mode that f was opened with.
func (t *fdTable) add(f *os.File) string {
	n := t.raw(f)
	t.args = append(t.args, "-add-fd", "fd="+n+",set="+n)
	return "/dev/fdset/" + n
}

func (t *fdTable) close() {
	for _, f := range t.files {
		f.Close()
	}
	t.files = nil
}

// notes are what a hypervisor, its guest's kernel and its share helper say
// beside the protocols.
type notes struct{ stderr, console, share *os.File }

func newNotes() (n notes, err error) {
	for _, f := range []struct {
		file **os.File
		name string
	}{{&n.stderr, "stderr"}, {&n.console, "console"}, {&n.share, "share"}} {
		if *f.file, err = newNote(f.name); err != nil {
			n.close()
			return n, err
		}
	}
	return n, nil
}

// noteQuote is how many bytes of a note are told: enough for a kernel's panic.
const noteQuote = 3000

// quote tells the ends of them, for an error message.
func (n notes) quote() string {
	var text string
	if s := noteText(n.stderr, noteQuote); s != "" {
		text += "; QEMU says: " + s
	}
	if s := noteText(n.console, noteQuote); s != "" {
		text += "; the guest's console says: " + s
	}
	if s := noteText(n.share, noteQuote); s != "" {
		text += "; the share helper says: " + s
	}
	return text
}

func (n notes) close() {
	for _, f := range []*os.File{n.stderr, n.console, n.share} {
		if f != nil {
			f.Close()
		}
	}
}

// start starts the hypervisor, detached.
func (m *machine) start() (*process, notes, error) {
	defer m.fds.close()
	n, err := newNotes()
	if err != nil {
		return nil, n, err
	}
	args, err := m.args()
	if err != nil {
		n.close()
		return nil, n, err
	}
	cmd := exec.Command(m.qemu.path, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Stdout, cmd.Stderr = n.console, n.stderr // the guest's serial port is on standard output
	cmd.ExtraFiles = m.fds.files
	cred := &syscall.Credential{Uid: uint32(m.owner), Gid: uint32(m.owner)}
	if m.accel.Name == accel.KVM && m.accel.KVMGroup >= 0 {
		cred.Groups = []uint32{uint32(m.accel.KVMGroup)}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	if m.shared {
		// Nobody looks for the hypervisor of a template that a killed daemon
		// was making. The caller keeps its thread.
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	proc, err := startDetached(cmd)
	if err != nil {
		n.close()
		return nil, n, fmt.Errorf("cannot start the hypervisor: %w", err)
	}
	return proc, n, nil
}

// args is the command line. Everything that decides the guest's devices is the
// same for all guests of one shape.
func (m *machine) args() ([]string, error) {
	size := strconv.FormatInt(m.shape.memory, 10)
	ram := "memory-backend-ram,id=ram,size=" + size
	if m.memory != nil {
		share := "off"
		if m.shared {
			share = "on"
		}
		// QEMU opens this path for writing; that gives it nothing it can
		// write to, because a template's memory is sealed.
		ram = "memory-backend-file,id=ram,size=" + size + ",share=" + share + ",mem-path=/proc/self/fd/" + m.fds.raw(m.memory)
	}
	args := []string{
		"-name", "guest=" + m.name,
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-machine", "microvm,acpi=on,memory-backend=ram",
		"-object", ram,
		"-m", "size=" + size + "B",
		"-smp", strconv.Itoa(m.cpus),
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		// What the host cannot read or write, a full disk too, is the guest's
		// error; QEMU would stop the guest, and nobody would know why it hangs.
		// Each disk is a node over another, which can be exchanged (see standby).
		"-blockdev", "node-name=image0,read-only=on,driver=" + m.image.driver + ",file.driver=file,file.filename=" + m.image.file,
		"-blockdev", "node-name=image,read-only=on,driver=raw,file=image0",
		"-device", "virtio-blk-device,drive=image,rerror=report",
		"-blockdev", "node-name=writable0,discard=unmap,driver=file,filename=" + m.fds.add(m.writable),
		"-blockdev", "node-name=writable,discard=unmap,driver=raw,file=writable0",
		"-device", "virtio-blk-device,drive=writable,rerror=report,werror=report",
		"-device", "virtio-serial-device,max_ports=4",
	}
	if m.incoming == nil { // a saved guest needs them no more
		kernelPath, initrdPath, err := m.bootFiles()
		if err != nil {
			return nil, err
		}
		args = append(args, "-kernel", kernelPath, "-initrd", initrdPath, "-append", m.commandLine(m.tscKHz))
	}
	if m.accel.Name == accel.KVM {
		// -cpu host aborts on hosts that hide MSR 0x10a behind the feature's bit.
		args = append(args, "-accel", "kvm", "-cpu", "host,arch-capabilities=off")
	} else {
		thread := "multi"
		if m.cpus == 1 {
			thread = "single"
		}
		// Without erms a guest fills and copies memory by eight bytes at a time:
		// emulation does no more for an instruction that does it by the byte.
		args = append(args, "-accel", "tcg,tb-size=256,thread="+thread, "-cpu", "max,la57=off,erms=off")
	}
	agentFD, err := listenUnix(m.runDir, agentSocket)
	if err != nil {
		return nil, err
	}
	args = append(args, "-chardev", "socket,id=agent,server=on,wait=off,fd="+m.fds.raw(agentFD), "-device", "virtserialport,chardev=agent,name="+agentguest.AgentPort)
	args = append(args, "-chardev", "file,id=log,append=on,path="+m.fds.add(m.log), "-device", "virtserialport,chardev=log,name="+agentguest.LogPort)
	shareFD, err := listenUnix(m.runDir, shareSocket)
	if err != nil {
		return nil, err
	}
	args = append(args, "-chardev", "socket,id=share,server=on,wait=off,fd="+m.fds.raw(shareFD), "-device", "virtserialport,chardev=share,name="+agentguest.SharePort,
		"-netdev", "tap,id=net,vhost=off,fd="+m.fds.raw(m.tap), "-device", "virtio-net-device,netdev=net,mac=52:54:00:00:00:01",
		"-object", "rng-builtin,id=rng", "-device", "virtio-rng-device,rng=rng")
	if m.monitor != nil {
		args = append(args, "-chardev", "socket,id=monitor,fd="+m.fds.raw(m.monitor), "-mon", "chardev=monitor,mode=control")
	}
	if m.incoming != nil {
		m.incomingFD = m.fds.raw(m.incoming)
		args = append(args, "-incoming", "defer")
	}
	return append(args, m.fds.args...), nil
}

// bootFiles opens the kernel and the initramfs. QEMU reads them by a path, for
// which its own descriptors do.
func (m *machine) bootFiles() (kernel, initrd string, err error) {
	k, err := openForAll(m.kernel.Image)
	if err != nil {
		return "", "", fmt.Errorf("cannot open the guest kernel: %w", err)
	}
	i, err := openForAll(m.initramfs)
	if err != nil {
		k.Close()
		return "", "", fmt.Errorf("cannot open the initramfs: %w", err)
	}
	return "/proc/self/fd/" + m.fds.raw(k), "/proc/self/fd/" + m.fds.raw(i), nil
}

// openForAll opens a file such that another user can open its descriptor again:
// one that only root may read (some distributions' /boot/vmlinuz) as a copy.
func openForAll(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err != nil || fi.Mode().Perm()&0o004 != 0 {
		return f, err
	}
	defer f.Close()
	c, err := newMemory("copy", 0)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(c, f); err != nil {
		c.Close()
		return nil, err
	}
	return c, readOnly(c)
}
