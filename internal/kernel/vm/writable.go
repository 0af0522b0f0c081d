package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// writableName is the writable disk's name in a container's state directory.
const writableName = "writable.ext4"

// seedName changes when what is in it should.
const seedName = "writable-64g-2.ext4"

var seedMu sync.Mutex

// CreateWritable leaves the disk to the first Place: a standby may have one.
func (p *Provider) CreateWritable(context.Context, string, int) error { return nil }

// ensureWritable makes a container's writable disk unless it has one.
func (p *Provider) ensureWritable(ctx context.Context, file string) error {
	if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// A daemon that dies meanwhile leaves no half of one.
	unfinished := file + ".new"
	if err := os.Remove(unfinished); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := p.createWritable(ctx, unfinished); err != nil {
		return err
	}
	return os.Rename(unfinished, file)
}

func (p *Provider) createWritable(ctx context.Context, file string) error {
	return createWritable(ctx, filepath.Join(p.cfg.Root, "vm"), file)
}

// createWritable makes a writable disk at file: an empty ext4 of the constant
// size, a few MiB on disk. It is formatted once and copied from then on.
func createWritable(ctx context.Context, dir, file string) error {
	seed, err := writableSeed(ctx, dir)
	if err != nil {
		return err
	}
	if err := copySparse(seed, file); err != nil {
		os.Remove(file)
		return fmt.Errorf("cannot make the writable disk: %w", err)
	}
	return nil
}

// writableSeed returns the formatted disk that all are copied from.
func writableSeed(ctx context.Context, dir string) (string, error) {
	seedMu.Lock()
	defer seedMu.Unlock()
	seed := filepath.Join(dir, seedName)
	if _, err := os.Stat(seed); err == nil {
		return seed, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("cannot format the writable disk: %w", err)
	}
	f, err := os.CreateTemp(dir, ".tmp-seed-")
	if err != nil {
		return "", fmt.Errorf("cannot format the writable disk: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := f.Truncate(writableSize); err != nil {
		return "", fmt.Errorf("cannot format the writable disk: %w", err)
	}
	// The file is all holes, which mkfs is told to rely on (discard), so it
	// writes no inode tables and the guest's kernel has none to clear later.
	// What it has is said here, so that it does not depend on the host's
	// mke2fs.conf, nor on features that a guest's kernel may not know yet.
	cmd := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", "-L", "abode", "-J", "size=64", "-b", "4096", "-I", "256", "-i", "16384",
		"-O", "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum",
		"-E", "discard,lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0", f.Name())
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "MKE2FS_CONFIG=/dev/null"}
	if out, err := cmd.CombinedOutput(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return "", fmt.Errorf("cannot format the writable disk: run %q: %w", "apt-get install e2fsprogs", err)
		}
		return "", fmt.Errorf("cannot format the writable disk: %w: %s", err, strings.TrimSpace(string(out)))
	}
	if err := f.Sync(); err != nil {
		return "", fmt.Errorf("cannot format the writable disk: %w", err)
	}
	if err := os.Rename(f.Name(), seed); err != nil {
		return "", fmt.Errorf("cannot format the writable disk: %w", err)
	}
	return seed, nil
}

// copySparse copies a file with its holes: by sharing its blocks where the
// file system can (FICLONE), else extent by extent.
func copySparse(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer dst.Close()
	if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
		return dst.Close()
	}
	fi, err := src.Stat()
	if err != nil {
		return err
	}
	if err := dst.Truncate(fi.Size()); err != nil {
		return err
	}
	err = eachExtent(src, func(at, n int64) error {
		if _, err := dst.Seek(at, io.SeekStart); err != nil {
			return err
		}
		_, err := io.Copy(dst, io.NewSectionReader(src, at, n))
		return err
	})
	if err != nil {
		return err
	}
	return dst.Close()
}

// eachExtent calls f for each part of a file that is not a hole, in order.
func eachExtent(file *os.File, f func(at, n int64) error) error {
	fd := int(file.Fd())
	for at := int64(0); ; {
		start, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		} else if err != nil {
			return &fs.PathError{Op: "seek", Path: file.Name(), Err: err}
		}
		end, err := unix.Seek(fd, start, unix.SEEK_HOLE)
		if err != nil {
			return &fs.PathError{Op: "seek", Path: file.Name(), Err: err}
		}
		if err := f(start, end-start); err != nil {
			return err
		}
		at = end
	}
}
