package erofs_test

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/erofs"
)

// What the guest prints stands between these.
const guestBegins, guestEnds = "=== snapshot ===", "=== end ==="

// The test program is also the init of the guest that TestLinux61 boots.
func TestMain(m *testing.M) {
	if os.Getpid() == 1 && os.Getenv("erofs_guest") == "1" {
		guest()
	}
	os.Exit(m.Run())
}

// A guestT fails by ending the guest.
type guestT struct{}

func (guestT) Helper()                           {}
func (guestT) Errorf(format string, args ...any) { guestT{}.Fatalf(format, args...) }
func (guestT) Fatalf(format string, args ...any) {
	fmt.Printf("guest: "+format+"\n%s\n", append(args, guestEnds)...)
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// guest mounts the disk, prints what is on it and ends the guest.
func guest() {
	var t guestT
	for i := 0; ; i++ {
		f, err := os.Open(fmt.Sprintf("/modules/%03d", i))
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err == nil {
			err = unix.FinitModule(int(f.Fd()), "", 0)
		}
		if err != nil {
			t.Fatalf("cannot load module %d: %v", i, err)
		}
	}
	os.Mkdir("/dev", 0o755)
	os.Mkdir("/disk", 0o755)
	if err := unix.Mount("dev", "/dev", "devtmpfs", 0, ""); err != nil {
		t.Fatalf("cannot mount /dev: %v", err)
	}
	for range 100 { // the disk may come a moment later
		if exists("/dev/vda") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := unix.Mount("/dev/vda", "/disk", "erofs", unix.MS_RDONLY, ""); err != nil {
		t.Fatalf("cannot mount the disk: %v", err)
	}
	found := onDisk(t, "/disk").String()
	fmt.Printf("\n%s\n%s\n%s\n", guestBegins, base64.StdEncoding.EncodeToString([]byte(found)), guestEnds)
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// Debian's 6.1 kernel, in a guest, finds what the host's kernel finds.
func TestLinux61(t *testing.T) {
	needRoot(t)
	if runtime.GOARCH != "amd64" {
		t.Skip("the guest kernel is for amd64")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("QEMU is missing: run `make deps`, or install qemu-system-x86")
	}
	packages, _ := filepath.Glob(filepath.Join(os.Getenv("ABODE_CACHE"), "kernel", "linux-image-6.1.*.deb"))
	if os.Getenv("ABODE_CACHE") == "" || len(packages) == 0 {
		t.Skip("there is no kernel package in ABODE_CACHE: run `make test`, or hack/assets")
	}
	var entries []entry
	for _, f := range features() {
		entries = append(entries, below(f.name, f.entries)...)
	}
	large, _ := sizes()
	entries = append(entries, below("sizes", large)...)
	crowd, _ := directories()
	entries = append(entries, below("directories", crowd)...)
	entries = slices.DeleteFunc(entries, func(e entry) bool { // emulation is slow
		return len(e.data) > 150_000 && !strings.Contains(e.Name, "holes/") || strings.Contains(e.Name, "/large/")
	})
	packed := archive(t, entries...)
	image, _ := write(t, bytes.NewReader(packed), erofs.Options{})
	layer, _ := write(t, bytes.NewReader(packed), erofs.Options{Compress: true, Recipe: true})

	kernel, initrd := guestFiles(t, packages[0])
	want := onDisk(t, mount(t, image))
	same(t, "in the guest", text(boot(t, kernel, initrd, image)), want)
	same(t, "in the guest, compressed", text(boot(t, kernel, initrd, layer)), want)
}

// below moves entries into a directory.
func below(dir string, entries []entry) []entry {
	var moved []entry
	for _, e := range entries {
		e.Name = dir + "/" + strings.TrimLeft(e.Name, "/")
		if e.Typeflag == tar.TypeLink {
			e.Linkname = path.Join(dir, e.Linkname)
		}
		moved = append(moved, e)
	}
	return moved
}

// boot runs the guest to its end and returns what it found. Emulated guests
// hang at times before they print anything, so there is a second try.
func boot(t *testing.T, kernel, initrd, image string) string {
	t.Helper()
	var console []byte
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		console, _ = exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "512",
			"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
			"-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1 erofs_guest=1",
			"-drive", "file="+image+",format=raw,readonly=on,if=virtio").CombinedOutput()
		cancel()
		if _, out, ok := strings.Cut(string(console), guestBegins); ok {
			encoded, _, _ := strings.Cut(out, guestEnds)
			found, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
			if err != nil {
				t.Fatalf("cannot read what the guest printed: %v", err)
			}
			return string(found)
		}
	}
	t.Fatalf("the guest said nothing of the disk:\n%s", console)
	return ""
}

// guestFiles takes the kernel and the modules out of a Debian package, and
// makes an initramfs of them and of this program.
func guestFiles(t *testing.T, deb string) (kernel, initrd string) {
	t.Helper()
	modules := map[string][]byte{}
	unpack := exec.Command("dpkg-deb", "--fsys-tarfile", deb)
	out, err := unpack.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := unpack.Start(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	kernel, initrd = filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "initrd")
	for r := tar.NewReader(out); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var p bytes.Buffer
		name, isModule := strings.CutSuffix(path.Base(h.Name), ".ko")
		isKernel := strings.HasPrefix(name, "vmlinuz-")
		if !isModule && !isKernel {
			continue
		}
		if _, err := io.Copy(&p, r); err != nil {
			t.Fatal(err)
		}
		if isKernel {
			if err := os.WriteFile(kernel, p.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		} else {
			modules[strings.ReplaceAll(name, "-", "_")] = p.Bytes()
		}
	}
	if err := unpack.Wait(); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	records := []cpio.Record{
		cpio.Directory("dev", 0o755), cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.Directory("modules", 0o755), cpio.StaticFile("init", string(self), 0o755),
	}
	var order []string
	for _, m := range []string{"virtio_pci", "virtio_blk", "erofs"} {
		order = depend(t, modules, order, m)
	}
	for i, m := range order {
		records = append(records, cpio.StaticFile(fmt.Sprintf("modules/%03d", i), string(modules[m]), 0o600))
	}
	var b bytes.Buffer
	if err := cpio.WriteRecordsAndDirs(cpio.Newc.Writer(&b), records); err != nil {
		t.Fatal(err)
	}
	if err := cpio.WriteTrailer(cpio.Newc.Writer(&b)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(initrd, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return kernel, initrd
}

// depend appends a module to those that are loaded, after what it needs. What
// the kernel has built in is no module.
func depend(t *testing.T, modules map[string][]byte, order []string, name string) []string {
	t.Helper()
	data, ok := modules[name]
	for _, have := range order {
		ok = ok && have != name
	}
	if !ok {
		return order
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Section(".modinfo").Data()
	if err != nil {
		t.Fatal(err)
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		for _, key := range []string{"depends=", "softdep=pre: "} {
			if needs, ok := strings.CutPrefix(field, key); ok {
				for need := range strings.FieldsFuncSeq(needs, func(r rune) bool { return r == ',' || r == ' ' }) {
					order = depend(t, modules, order, strings.ReplaceAll(need, "-", "_"))
				}
			}
		}
	}
	return append(order, name)
}
