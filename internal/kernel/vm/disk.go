package vm

import (
	"fmt"
	"os"
	"strings"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/kernel"
	"github.com/containerd/errdefs"
)

// Virtual sizes of a guest's disks. They are the same for every guest, because
// the driver of a template's guest has read them already.
const (
	imageSize    = 256 << 30
	writableSize = 64 << 30
)

// Devices as the guest names them, in the order of the command line.
const (
	imageDevice    = "/dev/vda"
	writableDevice = "/dev/vdb"
)

const sector = 512

// placeLayers says where the layers lie on the image disk: one after the
// other, from lead on.
func placeLayers(lead int64, layers []kernel.Layer) ([]agent.Layer, error) {
	var placed []agent.Layer
	at := lead
	for _, l := range layers {
		if l.Size <= 0 || l.Size%4096 != 0 {
			return nil, fmt.Errorf("layer %s has %d bytes, which is no multiple of 4096: %w", l.Path, l.Size, errdefs.ErrInvalidArgument)
		}
		if l.Size > imageSize-at {
			return nil, fmt.Errorf("the image has more than %d GiB of layers, the most that a virtual machine takes: %w", imageSize>>30, errdefs.ErrInvalidArgument)
		}
		placed = append(placed, agent.Layer{Path: imageDevice, Offset: at, Size: l.Size})
		at += l.Size
	}
	return placed, nil
}

// imageDisk adds to fds what makes up the image disk: the layers' files,
// untouched, one after the other, after a hole of lead bytes and before one up
// to the constant size, joined by a VMDK descriptor ("Virtual Disk Format 1.1",
// VMware). QEMU takes no empty line before the extents. It returns QEMU's
// driver and its file. Without layers it is the hole alone: QEMU saves no guest
// with a VMDK disk.
func imageDisk(fds *fdTable, lead int64, layers []kernel.Layer) (driver, file string, err error) {
	var d strings.Builder
	d.WriteString("# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"twoGbMaxExtentFlat\"\n")
	left := int64(imageSize)
	hole := func(size int64) (string, error) {
		h, err := newMemory("hole", size)
		if err != nil {
			return "", err
		}
		defer h.Close()
		r, err := reopen(h, os.O_RDONLY)
		if err != nil {
			return "", err
		}
		left -= size
		name := fds.add(r)
		fmt.Fprintf(&d, "RW %d FLAT \"%s\" 0\n", size/sector, name)
		return name, nil
	}
	if lead > 0 {
		if _, err := hole(lead); err != nil {
			return "", "", err
		}
	}
	for _, l := range layers {
		f, err := os.Open(l.Path)
		if err != nil {
			return "", "", fmt.Errorf("cannot open a layer: %w", err)
		}
		fi, err := f.Stat()
		if err == nil && fi.Size() < l.Size {
			err = fmt.Errorf("it has %d bytes, not %d: %w", fi.Size(), l.Size, errdefs.ErrDataLoss)
		}
		if err != nil {
			f.Close()
			return "", "", fmt.Errorf("cannot use layer %s: %w", l.Path, err)
		}
		fmt.Fprintf(&d, "RW %d FLAT \"%s\" 0\n", l.Size/sector, fds.add(f))
		left -= l.Size
	}
	if left > 0 {
		name, err := hole(left)
		if err != nil {
			return "", "", err
		}
		if len(layers) == 0 {
			return "raw", name, nil
		}
	}
	desc, err := newMemory("image", 0)
	if err != nil {
		return "", "", err
	}
	defer desc.Close()
	if _, err := desc.WriteString(d.String()); err != nil {
		return "", "", fmt.Errorf("cannot write the image disk's descriptor: %w", err)
	}
	r, err := reopen(desc, os.O_RDONLY)
	if err != nil {
		return "", "", err
	}
	return "vmdk", fds.add(r), nil
}
