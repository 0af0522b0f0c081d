package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// nestedImage makes the image of the machine: a small userland, this machine's
// QEMU and mkfs.ext4 with all that they load, the engine, and this program. They
// are on a disk of it, whose pages stay in its memory, not in a shared folder,
// from which every start would read them anew.
func (b *bench) nestedImage(e *engine) error {
	root := b.path("nested-root")
	tar, err := b.asset("busybox.tar")
	if err != nil {
		return err
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(root)
	if err := b.do(b.command(nil, "tar", "-C", root, "-xf", tar)); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	files := map[string]string{program: "/bin.abode/abode-bench", tar: "/input/busybox.tar", "/etc/mke2fs.conf": "/etc/mke2fs.conf"}
	for _, name := range []string{"abode", "aboded", "abode-agent"} {
		files[filepath.Join(b.bin, name)] = "/bin.abode/" + name
	}
	for _, name := range []string{"qemu-system-x86_64", "mkfs.ext4"} {
		if err := b.addProgram(files, name); err != nil {
			return err
		}
	}
	firmware, _ := filepath.Glob("/usr/share/qemu/*.*") // those of others' machines have no such names
	more, _ := filepath.Glob("/usr/share/seabios/*")
	for _, f := range append(firmware, more...) {
		files[f] = f
	}
	for from, to := range files {
		if err := copyTo(from, filepath.Join(root, to)); err != nil {
			return err
		}
	}
	if err := errors.Join(b.guestKernel(e, filepath.Join(root, "input")), os.Mkdir(filepath.Join(root, "work"), 0o711), os.Mkdir(filepath.Join(root, "run"), 0o755)); err != nil {
		return err
	}
	packed := b.path("nested.tar")
	defer os.Remove(packed)
	if err := b.do(b.command(nil, "tar", "-C", root, "-cf", packed, ".")); err != nil {
		return err
	}
	return e.load(nestedImage, packed)
}

// addProgram adds a program and the libraries that it loads.
func (b *bench) addProgram(files map[string]string, name string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return absence(name + " is not installed")
	}
	files[path] = path
	said, err := b.output(b.command(nil, "ldd", path))
	if err != nil {
		return err
	}
	for _, word := range strings.Fields(said) {
		if filepath.IsAbs(word) {
			files[word] = word
		}
	}
	return nil
}

// guestKernel puts the guest kernel and modules into a folder: those with which
// the engine's own initramfs boots guests (an emulated machine takes a minute to
// unpack all others), and those that make the machine a host.
func (b *bench) guestKernel(e *engine, dir string) error {
	image, err := e.kernelImage()
	if err != nil {
		return err
	}
	guest := filepath.Join(dir, "kernel", "linux-image-guest")
	if err := copyTo(image, filepath.Join(guest, "vmlinuz")); err != nil {
		return err
	}
	files, err := moduleFiles(filepath.Join(filepath.Dir(image), "modules"), nestedModules)
	if err != nil {
		return err
	}
	var order strings.Builder
	for _, f := range files {
		order.WriteString(moduleName(f) + "\n")
		if err := copyTo(f, filepath.Join(dir, "modules", moduleName(f)+".ko")); err != nil {
			return err
		}
	}
	found, _ := filepath.Glob(e.path(e.folder, "root", "vm", "*.cpio"))
	if len(found) == 0 {
		return errors.New("cannot find the initramfs that the engine has made")
	}
	unpack := b.command(nil, "busybox", "cpio", "-id", "lib/modules/*.ko")
	unpack.Dir = guest
	cpio, err := os.Open(found[0])
	if err != nil {
		return err
	}
	defer cpio.Close()
	unpack.Stdin = cpio
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "order"), []byte(order.String()), 0o644),
		os.WriteFile(filepath.Join(dir, "setup.sh"), []byte(nestedSetup), 0o644),
		b.do(unpack))
}

// copyTo copies a file, what a link leads to, and makes the folder for it.
func copyTo(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	fi, err := os.Stat(from)
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, b, fi.Mode().Perm()))
}
