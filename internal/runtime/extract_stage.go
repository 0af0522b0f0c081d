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
	"time"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// extract unpacks a tar stream.
type extract struct {
	*agent.ExtractRequest
	dir  string
	dirs map[string]time.Time // times of directories, set when nothing more goes into them
}

func openExtract(req *agent.ExtractRequest) (*extract, error) {
	x := &extract{ExtractRequest: req, dir: path.Clean("/" + req.Path), dirs: map[string]time.Time{}}
	st, err := os.Stat(x.dir)
	if err != nil {
		return nil, pathError(req.Path, err)
	}
	if !st.IsDir() {
		return nil, errorf(agent.ClassInvalid, "extraction point is not a directory: %s", req.Path)
	}
	return x, nil
}

func (x *extract) read(r io.Reader) error {
	tr := tar.NewReader(bufio.NewReaderSize(r, 256<<10))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return errorf(agent.ClassInvalid, "cannot read the archive: %w", err)
		}
		if err := x.entry(h, tr); err != nil {
			return errorf(agent.ClassInvalid, "cannot extract %s: %w", h.Name, err)
		}
	}
	for p, t := range x.dirs {
		setTime(p, t)
	}
	return nil
}

// target is where an entry of the archive goes: never above the directory.
func (x *extract) target(name string) string {
	return path.Join(x.dir, path.Clean("/"+name))
}

func (x *extract) entry(h *tar.Header, r io.Reader) error {
	p := x.target(h.Name)
	if p == x.dir && h.Typeflag != tar.TypeDir {
		return errors.New("it has no name")
	}
	have, err := os.Lstat(p)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(path.Dir(p), 0o755); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		isDir, becomesDir := have.IsDir(), h.Typeflag == tar.TypeDir
		if p == x.dir && becomesDir {
			return nil // it is where the caller points to, maybe by a link
		}
		if x.NoOverwriteDirNonDir && isDir != becomesDir {
			if isDir {
				return fmt.Errorf("cannot overwrite directory %q with non-directory %q", p, h.Name)
			}
			return fmt.Errorf("cannot overwrite non-directory %q with directory %q", p, h.Name)
		}
		if !isDir || !becomesDir {
			if err := os.RemoveAll(p); err != nil {
				return err
			}
		}
	}
	return x.make(p, h, r)
}

func (x *extract) make(p string, h *tar.Header, r io.Reader) error {
	mode := uint32(h.Mode & 0o7777)
	switch h.Typeflag {
	case tar.TypeDir:
		if err := os.Mkdir(p, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		x.dirs[p] = h.ModTime
	case tar.TypeReg:
		f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	case tar.TypeSymlink:
		if err := os.Symlink(h.Linkname, p); err != nil {
			return err
		}
	case tar.TypeLink:
		return os.Link(x.target(h.Linkname), p)
	case tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
		kind := map[byte]uint32{tar.TypeFifo: unix.S_IFIFO, tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK}[h.Typeflag]
		err := unix.Mknod(p, kind|mode, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))))
		if err == unix.EPERM {
			return nil // a user namespace has no devices of its own; docker skips them too
		}
		if err != nil {
			return err
		}
	case tar.TypeXGlobalHeader:
		return nil
	default:
		return fmt.Errorf("entries of type %q are not supported", h.Typeflag)
	}
	return x.finish(p, h, mode)
}

func (x *extract) finish(p string, h *tar.Header, mode uint32) error {
	uid, gid := 0, 0
	if x.CopyUIDGID {
		uid, gid = h.Uid, h.Gid
	}
	if err := os.Lchown(p, uid, gid); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeSymlink {
		setTime(p, h.ModTime)
		return nil
	}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, xattrPrefix); ok {
			err := unix.Lsetxattr(p, name, []byte(value), 0)
			if err != nil && err != unix.ENOTSUP && err != unix.EPERM {
				return fmt.Errorf("attribute %s: %w", name, err)
			}
		}
	}
	if err := unix.Fchmodat(unix.AT_FDCWD, p, mode, 0); err != nil { // after the owner, whose change clears set-ID bits
		return err
	}
	if h.Typeflag != tar.TypeDir {
		setTime(p, h.ModTime)
	}
	return nil
}

// setTime is best effort, as tar's own.
func setTime(p string, t time.Time) {
	ts := unix.NsecToTimespec(t.UnixNano())
	_ = unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}
