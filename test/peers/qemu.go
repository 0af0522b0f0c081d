package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// qemu boots the engine's guest kernel from cold, on the machine that the
// engine gives a VM (the same CPU, memory, accelerator and kernel parameters),
// with an init that ends at once: what a virtual machine costs without an
// engine, an image and a network.
type qemu struct {
	*place
	bare
	model   *engine
	machine []string
	params  string
	kernel  string
	disk    string // of the image with tools

	mu    sync.Mutex
	idles map[string]*exec.Cmd
}

// coldName begins the names of its hypervisors, to tell them from the engine's.
const coldName = "guest=cold-"

func ofCold(p process) bool {
	return slices.ContainsFunc(p.args, func(a string) bool { return strings.HasPrefix(a, coldName) })
}

func (q *qemu) name() string { return "qemu" }

func (q *qemu) ready() (string, error) {
	q.idles = map[string]*exec.Cmd{}
	if err := q.model.start(); err != nil {
		return "", fmt.Errorf("cannot see what machine the engine makes: %w", err)
	}
	vm := &wall{engine: q.model, isolation: "vm"}
	if err := vm.idle("bench-model"); err != nil {
		return "", err
	}
	args := q.model.guest()
	params, err := q.output(q.model.abode("exec", "bench-model", "cat", "/proc/cmdline"))
	if err := errors.Join(err, vm.remove([]string{"bench-model"})); err != nil {
		return "", err
	}
	for _, flag := range []string{"-m", "-smp", "-accel", "-cpu"} {
		if i := slices.Index(args, flag); i > 0 {
			q.machine = append(q.machine, flag, args[i+1])
		}
	}
	q.params = params
	if q.kernel, err = q.model.kernelImage(); err != nil {
		return "", err
	}
	for name, init := range map[string]string{"end": "exec /busybox reboot -f", "stay": "echo " + coldReady + "; exec /busybox sleep 1000000"} {
		if err := q.initramfs(name, init, nil); err != nil {
			return "", err
		}
	}
	version, err := q.output(q.command(nil, "qemu-system-x86_64", "--version"))
	return firstLine(version) + ", " + strings.Join(q.machine, " "), err
}

// coldReady is what the init of an idle guest says.
const coldReady = "cold-guest-is-up"

// initramfs packs busybox, a script as init, and modules.
func (q *qemu) initramfs(name, init string, modules []string) error {
	dir := q.path("initramfs-" + name)
	rootfs, err := q.rootfs()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "dev"), 0o755); err != nil {
		return err
	}
	if err := unix.Mknod(filepath.Join(dir, "dev/console"), unix.S_IFCHR|0o600, int(unix.Mkdev(5, 1))); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	busybox, err := os.ReadFile(filepath.Join(rootfs, "bin/busybox"))
	if err != nil {
		return err
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "busybox"), busybox, 0o755),
		os.WriteFile(filepath.Join(dir, "init"), []byte("#!/busybox sh\n"+init+"\n"), 0o755)); err != nil {
		return err
	}
	for _, m := range modules {
		b, err := os.ReadFile(m)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(m)), b, 0o644)
		}
		if err != nil {
			return err
		}
	}
	pack := q.command(nil, "sh", "-c", `cd "$1" && find . | "$2/bin/busybox" cpio -o -H newc >"$1.cpio"`, "sh", dir, rootfs)
	return q.do(pack)
}

func (q *qemu) hypervisor(name, initramfs string, devices ...string) *exec.Cmd {
	args := append([]string{"-name", coldName + name, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "microvm,acpi=on", "-serial", "stdio",
		"-kernel", q.kernel, "-initrd", q.path("initramfs-" + initramfs + ".cpio"), "-append", q.params}, q.machine...)
	return q.command(nil, "qemu-system-x86_64", append(args, devices...)...)
}

// run boots and ends; what it runs of the test image is nothing, which is
// kinder than the others' program.
func (q *qemu) run(image string, network bool, argv ...string) (*exec.Cmd, error) {
	if image != testImage {
		return q.runOnDisk(network, argv)
	}
	return q.hypervisor("run", "end"), nil
}

func (q *qemu) idle(name string) error {
	console := q.path("console-" + name)
	file, err := os.Create(console)
	if err != nil {
		return err
	}
	defer file.Close()
	cmd := q.hypervisor(name, "stay")
	cmd.Stdout = file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	q.mu.Lock()
	q.idles[name] = cmd
	q.mu.Unlock()
	for range 1200 {
		if b, _ := os.ReadFile(console); strings.Contains(string(b), coldReady) {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.Join(errors.New("the guest did not come up"), q.remove([]string{name}))
}

func (q *qemu) remove(names []string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, name := range names {
		if cmd := q.idles[name]; cmd != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			delete(q.idles, name)
		}
		os.Remove(q.path("console-" + name))
	}
	return nil
}

func (q *qemu) ours(p process) bool { return isHypervisor(p) && ofCold(p) }
