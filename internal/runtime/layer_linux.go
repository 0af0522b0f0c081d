package runtime

import (
	"archive/tar"
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// Names by which a layer says what is no longer there.
// https://github.com/opencontainers/image-spec/blob/main/layer.md
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// Layer writes what the writable layer changes as the tar of a layer to w: what
// Diff lists. begun is called before; it answers the call. A tar that is cut
// short lacks its end.
//
// The files are read where they are kept, for their owners there are those that
// the container sees.
func (r *Runtime) Layer(ctx context.Context, id string, begun func() error, w io.Writer) error {
	d, upper, err := r.differ(id)
	if err != nil {
		return err
	}
	defer unix.Close(upper)
	if err := begun(); err != nil {
		return err
	}
	buf := bufio.NewWriterSize(w, 256<<10)
	l := &layerTar{upper: upper, tw: tar.NewWriter(buf), links: map[[2]uint64]string{}}
	for _, ch := range d.changes {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := l.add(ch, d.opaque); err != nil {
			return fmt.Errorf("cannot read %s of the writable layer: %w", ch.Path, err)
		}
	}
	if err := l.tw.Close(); err != nil {
		return err
	}
	return buf.Flush()
}

// layerTar writes a layer.
type layerTar struct {
	upper int
	tw    *tar.Writer
	links map[[2]uint64]string // files with several names, by device and inode
}

func (l *layerTar) add(ch agent.Change, opaque map[string]bool) error {
	name := ch.Path[1:]
	dir, base := path.Split(name)
	if ch.Kind == agent.ChangeDeleted {
		if opaque[path.Dir(ch.Path)] { // which hides it
			return nil
		}
		return l.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: dir + whiteoutPrefix + base, Format: tar.FormatPAX})
	}
	fd, err := unix.Openat2(l.upper, name, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP {
		return nil // gone or replaced meanwhile
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := l.entry(fd, name); err != nil {
		return err
	}
	if opaque[ch.Path] {
		return l.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name + "/" + whiteoutOpaque, Format: tar.FormatPAX})
	}
	return nil
}

// entry writes the file behind fd, which was opened as a path alone.
func (l *layerTar) entry(fd int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	self := "/proc/self/fd/" + strconv.Itoa(fd)
	h := &tar.Header{
		Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid), Format: tar.FormatPAX,
		ModTime: time.Unix(st.Mtim.Unix()), PAXRecords: readXattrs(self, unix.Listxattr, unix.Getxattr),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case unix.S_IFREG:
		h.Typeflag = tar.TypeReg
		if st.Nlink > 1 {
			key := [2]uint64{uint64(st.Dev), st.Ino}
			if first, ok := l.links[key]; ok {
				h.Typeflag, h.Linkname, h.PAXRecords = tar.TypeLink, first, nil
				break
			}
			l.links[key] = name
		}
		f, err := os.OpenFile(self, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		return writeFile(l.tw, f, h)
	case unix.S_IFLNK:
		to := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(fd, "", to)
		if err != nil {
			return err
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, string(to[:n])
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFBLK, unix.S_IFCHR:
		if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
			return nil // became a whiteout meanwhile
		}
		h.Typeflag = tar.TypeBlock
		if st.Mode&unix.S_IFMT == unix.S_IFCHR {
			h.Typeflag = tar.TypeChar
		}
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	default: // tar has no sockets
		return nil
	}
	return l.tw.WriteHeader(h)
}

// writeFile writes a regular file, of which a process may change the size meanwhile.
func writeFile(tw *tar.Writer, f *os.File, h *tar.Header) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	h.Size = st.Size()
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.CopyN(tw, f, h.Size)
	if err == io.EOF {
		_, err = io.CopyN(tw, zeros{}, h.Size-n)
	}
	return err
}
