package runtime

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// attachLoop makes a read-only loop device of a file. It is gone once it is
// neither open nor mounted, also when this process is killed.
func attachLoop(path string) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open a layer: %w", err)
	}
	defer file.Close()
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make a loop device: %w: load the kernel module loop", err)
	}
	defer ctl.Close()
	for range 64 {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("cannot make a loop device: %w", err)
		}
		dev, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDONLY, 0)
		if err != nil {
			return nil, fmt.Errorf("cannot open a loop device: %w", err)
		}
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &unix.LoopConfig{
			Fd:   uint32(file.Fd()),
			Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR},
		})
		if err == nil {
			return dev, nil
		}
		dev.Close()
		if err != unix.EBUSY { // somebody else was faster
			return nil, fmt.Errorf("cannot set up %s: %w", dev.Name(), err)
		}
	}
	return nil, errors.New("cannot make a loop device: all are taken as fast as they are found")
}

// partitions are numbered as they are added.
var partitions = struct {
	sync.Mutex
	made map[agent.Layer]madePartition
}{made: map[agent.Layer]madePartition{}}

type madePartition struct {
	number int
	path   string
}

// partition adds a partition for a part of a block device, and returns its path.
func partition(l agent.Layer) (string, error) {
	if l.Offset%4096 != 0 || l.Size%4096 != 0 || l.Offset < 0 || l.Size <= 0 {
		return "", &agent.Error{Class: agent.ClassInvalid, Message: fmt.Sprintf("a layer at %d of %d bytes is not aligned", l.Offset, l.Size)}
	}
	partitions.Lock()
	defer partitions.Unlock()
	if p, ok := partitions.made[l]; ok {
		return p.path, nil
	}
	dev, err := os.Open(l.Path)
	if err != nil {
		return "", fmt.Errorf("cannot open the disk of the layers: %w", err)
	}
	defer dev.Close()
	name := filepath.Base(l.Path)
	// A number that no other part of the disk has. Partitions of a disk that
	// an earlier process made are found by their place.
	for n := 1; n < 256; n++ {
		sep := ""
		if c := name[len(name)-1]; c >= '0' && c <= '9' {
			sep = "p"
		}
		part := name + sep + strconv.Itoa(n)
		sys := filepath.Join("/sys/class/block", part)
		if start, err := readInt(filepath.Join(sys, "start")); err == nil {
			if size, err := readInt(filepath.Join(sys, "size")); err == nil && start*512 == l.Offset && size*512 == l.Size {
				return remember(l, n, part)
			}
			continue
		}
		errno := blkpg(dev, unix.BLKPG_ADD_PARTITION, n, l)
		if errno == unix.EBUSY {
			continue
		}
		if errno != 0 {
			return "", fmt.Errorf("cannot add a partition to %s: %w", l.Path, errno)
		}
		return remember(l, n, part)
	}
	return "", fmt.Errorf("cannot add a partition to %s: it has 255", l.Path)
}

// dropPartition takes a part's partition away again, so that another image can
// be on the disk. Its file system was unmounted a moment ago.
func dropPartition(l agent.Layer) error {
	partitions.Lock()
	defer partitions.Unlock()
	p, ok := partitions.made[l]
	if !ok {
		return nil
	}
	dev, err := os.Open(l.Path)
	if err != nil {
		return fmt.Errorf("cannot open the disk of the layers: %w", err)
	}
	defer dev.Close()
	for deadline := time.Now().Add(time.Second); ; time.Sleep(5 * time.Millisecond) {
		errno := blkpg(dev, unix.BLKPG_DEL_PARTITION, p.number, l)
		if errno == 0 || errno == unix.ENXIO {
			delete(partitions.made, l)
			return nil
		}
		if errno != unix.EBUSY || time.Now().After(deadline) {
			return fmt.Errorf("cannot take %s off %s: %w", p.path, l.Path, errno)
		}
	}
}

// blkpg adds or deletes a partition.
func blkpg(dev *os.File, op int32, n int, l agent.Layer) unix.Errno {
	// struct blkpg_partition and blkpg_ioctl_arg, linux/blkpg.h
	var p [152]byte
	binary.NativeEndian.PutUint64(p[0:], uint64(l.Offset))
	binary.NativeEndian.PutUint64(p[8:], uint64(l.Size))
	binary.NativeEndian.PutUint32(p[16:], uint32(n))
	arg := struct {
		op, flags, datalen int32
		data               unsafe.Pointer
	}{op: op, datalen: int32(len(p)), data: unsafe.Pointer(&p)}
	// SAFETY: arg and p have the kernel's layout and live during the call.
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, dev.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&arg)))
	return errno
}

// remember makes sure that the device node is there (devtmpfs makes it at once).
func remember(l agent.Layer, n int, part string) (string, error) {
	p := filepath.Join("/dev", part)
	if _, err := os.Stat(p); err != nil {
		b, rerr := os.ReadFile(filepath.Join("/sys/class/block", part, "dev"))
		var major, minor uint32
		if rerr == nil {
			_, rerr = fmt.Sscanf(string(b), "%d:%d", &major, &minor)
		}
		if rerr != nil {
			return "", fmt.Errorf("cannot find the partition %s: %w", part, rerr)
		}
		// No devtmpfs: a node of our own, by a name that no driver uses.
		p = "/dev/abode-" + part
		if err := unix.Mknod(p, unix.S_IFBLK|0o600, int(unix.Mkdev(major, minor))); err != nil && err != unix.EEXIST {
			return "", fmt.Errorf("cannot make a node for %s: %w", part, err)
		}
	}
	partitions.made[l] = madePartition{n, p}
	return p, nil
}

func readInt(path string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}
