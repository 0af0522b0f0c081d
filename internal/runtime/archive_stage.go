package runtime

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// archive writes one file or tree as tar.
type archive struct {
	start  string // where it begins
	name   string // what the beginning is called in the archive; empty: the children alone
	whole  bool   // the root file system alone, without what is mounted in it
	rootID uint64 // its mount

	tw    *tar.Writer
	links map[[2]uint64]string // files with several names, by device and inode
}

func openArchive(req *agent.PathRequest) (*archive, error) {
	a := &archive{start: resolve(req.Path, req.Follow), links: map[[2]uint64]string{}}
	st, err := os.Lstat(a.start)
	if err != nil {
		return nil, pathError(req.Path, err)
	}
	clean := path.Clean("/" + req.Path)
	switch {
	case clean == "/":
		a.whole = true
		if a.rootID, err = mountID("/"); err != nil {
			return nil, err
		}
	case strings.HasSuffix(req.Path, "/.") && st.IsDir():
		a.name = "."
	default:
		a.name = path.Base(clean)
	}
	if st.IsDir() {
		a.start = strings.TrimSuffix(a.start, "/.")
		if !strings.HasSuffix(a.start, "/") {
			a.start += "/" // also through a link at the end, when that was asked for
		}
		if l, err := os.Lstat(strings.TrimSuffix(a.start, "/")); err == nil && l.Mode()&fs.ModeSymlink == 0 && a.start != "/" {
			a.start = strings.TrimSuffix(a.start, "/")
		}
	}
	return a, nil
}

// mountID tells mounts apart, also of files that are bound over others.
func mountID(p string) (uint64, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, p, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_MNT_ID, &st); err != nil {
		return 0, err
	}
	return st.Mnt_id, nil
}

// pseudo are file systems that show the kernel and hold no files.
var pseudo = map[int64]bool{
	unix.PROC_SUPER_MAGIC: true, unix.SYSFS_MAGIC: true, unix.CGROUP_SUPER_MAGIC: true, unix.CGROUP2_SUPER_MAGIC: true,
	unix.DEVPTS_SUPER_MAGIC: true, unix.DEBUGFS_MAGIC: true, unix.TRACEFS_MAGIC: true, unix.BPF_FS_MAGIC: true,
	unix.SECURITYFS_MAGIC: true, 0x19800202 /* mqueue */ : true,
}

func (a *archive) write(w io.Writer) error {
	buf := bufio.NewWriterSize(w, 256<<10)
	a.tw = tar.NewWriter(buf)
	if err := a.add(a.start, a.name, 0); err != nil {
		return err
	}
	if err := a.tw.Close(); err != nil {
		return err
	}
	return buf.Flush()
}

// add writes p, and what is below it, under name.
func (a *archive) add(p, name string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s is nested too deep", p)
	}
	st, err := os.Lstat(p)
	if strings.HasSuffix(p, "/") {
		st, err = os.Stat(p)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it has gone meanwhile
	}
	if err != nil {
		return err
	}
	empty := false // something is mounted here: the place alone
	if depth > 0 {
		if a.whole {
			id, err := mountID(p)
			empty = err != nil || id != a.rootID
		} else if st.IsDir() {
			var sfs unix.Statfs_t
			empty = unix.Statfs(p, &sfs) == nil && pseudo[int64(sfs.Type)]
		}
	}
	if name != "" {
		if err := a.entry(p, name, st, empty); err != nil {
			return fmt.Errorf("cannot archive %s: %w", p, err)
		}
	}
	if !st.IsDir() || empty {
		return nil
	}
	entries, err := os.ReadDir(p)
	if err != nil {
		return fmt.Errorf("cannot archive %s: %w", p, err)
	}
	for _, e := range entries {
		child := e.Name()
		if name != "" {
			child = name + "/" + child
		}
		if err := a.add(strings.TrimSuffix(p, "/")+"/"+e.Name(), child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (a *archive) entry(p, name string, st fs.FileInfo, empty bool) error {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || st.Mode()&fs.ModeSocket != 0 { // tar has no sockets
		return nil
	}
	h := &tar.Header{
		Name: name, Mode: int64(sys.Mode & 0o7777), Uid: int(sys.Uid), Gid: int(sys.Gid),
		ModTime: st.ModTime().Truncate(time.Second), Format: tar.FormatPAX, PAXRecords: xattrs(p),
	}
	switch mode := st.Mode(); {
	case mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case mode.IsRegular():
		h.Typeflag = tar.TypeReg
		if sys.Nlink > 1 {
			key := [2]uint64{uint64(sys.Dev), sys.Ino}
			if first, ok := a.links[key]; ok {
				h.Typeflag, h.Linkname, h.PAXRecords = tar.TypeLink, first, nil
				return a.tw.WriteHeader(h)
			}
			a.links[key] = name
		}
		if empty {
			return a.tw.WriteHeader(h)
		}
		return a.file(p, h)
	case mode&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
		to, err := os.Readlink(p)
		if err != nil {
			return err
		}
		h.Linkname = to
	case mode&fs.ModeNamedPipe != 0:
		h.Typeflag = tar.TypeFifo
	case mode&fs.ModeDevice != 0:
		h.Typeflag = tar.TypeBlock
		if mode&fs.ModeCharDevice != 0 {
			h.Typeflag = tar.TypeChar
		}
		h.Devmajor, h.Devminor = int64(unix.Major(sys.Rdev)), int64(unix.Minor(sys.Rdev))
	default:
		return nil
	}
	return a.tw.WriteHeader(h)
}

// file writes a regular file.
func (a *archive) file(p string, h *tar.Header) error {
	f, err := os.OpenFile(p, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return err // it was replaced
	}
	return writeFile(a.tw, f, h)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// xattrPrefix is how PAX archives carry extended attributes.
const xattrPrefix = "SCHILY.xattr."

// xattrs reads what means something outside of this kernel.
func xattrs(p string) map[string]string {
	return readXattrs(p, unix.Llistxattr, unix.Lgetxattr)
}

func readXattrs(p string, listOf func(string, []byte) (int, error), get func(string, string, []byte) (int, error)) map[string]string {
	list := make([]byte, 64<<10)
	n, err := listOf(p, list)
	if err != nil || n == 0 {
		return nil
	}
	records := map[string]string{}
	value := make([]byte, 64<<10)
	for _, name := range splitNUL(list[:n]) {
		if name != "security.capability" && !strings.HasPrefix(name, "user.") {
			continue
		}
		if v, err := get(p, name, value); err == nil {
			records[xattrPrefix+name] = string(value[:v])
		}
	}
	return records
}
