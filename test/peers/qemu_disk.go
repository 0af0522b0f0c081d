package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// For what goes on inside, the cold machine gets what a plain QEMU has: the
// image on an ext4 disk and a network card, both virtio.

// load makes that disk.
func (q *qemu) load(_, tar string) error {
	root := q.path("cold-root")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(root)
	disk := q.path("cold.img")
	if err := errors.Join(
		q.do(q.command(nil, "tar", "-C", root, "-xf", tar)),
		q.do(q.command(nil, "mkfs.ext4", "-q", "-F", "-d", root, disk, "4G"))); err != nil {
		return err
	}
	// The tap's other end is the host of the iperf3 server.
	for _, args := range [][]string{
		{"tuntap", "add", "dev", coldTap, "mode", "tap"},
		{"address", "add", coldGateway + "/24", "dev", coldTap},
		{"link", "set", coldTap, "up"},
	} {
		if err := q.do(q.command(nil, "ip", args...)); err != nil {
			return err
		}
	}
	q.disk = disk
	return nil
}

const (
	coldTap     = "coldtap0"
	coldGateway = "10.222.222.1"
	coldAddress = "10.222.222.2"
)

// coldModules are what the guest needs beyond its kernel's own.
var coldModules = []string{"virtio_mmio", "virtio_blk", "virtio_net", "crc32c_generic", "ext4"}

// runOnDisk boots the image from the disk and runs a program of it. Its output
// is on the console.
func (q *qemu) runOnDisk(_ bool, argv []string) (*exec.Cmd, error) {
	if q.disk == "" {
		return nil, absence("it has no disk with this image")
	}
	modules, err := moduleFiles(filepath.Join(filepath.Dir(q.kernel), "modules"), coldModules)
	if err != nil {
		return nil, err
	}
	var init strings.Builder
	for _, m := range modules {
		fmt.Fprintf(&init, "/busybox insmod /%s\n", filepath.Base(m))
	}
	quoted := make([]string, len(argv))
	for i, a := range argv {
		quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	fmt.Fprintf(&init, `/busybox mkdir /disk
/busybox mount -t devtmpfs dev /dev
/busybox mount -t ext4 /dev/vda /disk
/busybox mount -t devtmpfs dev /disk/dev
/busybox mount -t proc proc /disk/proc
/busybox ip address add %s/24 dev eth0
/busybox ip link set eth0 up
/busybox ip route add default via %s
PATH=/usr/sbin:/usr/bin:/sbin:/bin /busybox chroot /disk %s
/busybox umount /disk/proc /disk/dev /disk
exec /busybox reboot -f`, coldAddress, coldGateway, strings.Join(quoted, " "))
	if err := q.initramfs("disk", init.String(), modules); err != nil {
		return nil, err
	}
	vhost := "off"
	if exists("/dev/vhost-net") {
		vhost = "on"
	}
	return q.hypervisor("disk", "disk",
		"-blockdev", "driver=raw,node-name=disk,discard=unmap,file.driver=file,file.filename="+q.disk, "-device", "virtio-blk-device,drive=disk",
		"-netdev", "tap,id=net,script=no,downscript=no,ifname="+coldTap+",vhost="+vhost, "-device", "virtio-net-device,netdev=net"), nil
}
