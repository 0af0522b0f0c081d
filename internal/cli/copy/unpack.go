package copy

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Options say how to unpack.
type Options struct {
	// Archive keeps owners, and the set-user-ID and set-group-ID bits;
	// without it files belong to the caller.
	Archive bool
	// Skipped, if not nil, is told of entries that are left out: devices,
	// which a stream from a container must not make on the host.
	Skipped func(name string)
}

// Unpack extracts a tar stream whose entries all lie below one name, as the
// engine sends them, so that this name becomes target. Target's directory
// must exist. Nothing is written outside of it, whatever the stream says:
// no symbolic link, be it from the stream or already there, leads out.
func Unpack(r io.Reader, target string, o Options) error {
	dir, base := filepath.Split(filepath.Clean(target))
	if base == "" || base == "." || base == ".." || filepath.Clean(target) == "/" {
		dir, base = target, "."
	}
	if dir == "" {
		dir = "."
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	u := unpacker{root: root, base: base, Options: o}
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return u.finish()
		}
		if err != nil {
			return fmt.Errorf("cannot read the archive: %w", err)
		}
		if err := u.entry(h, t); err != nil {
			return fmt.Errorf("cannot extract %q: %w", h.Name, err)
		}
	}
}

type unpacker struct {
	Options
	root *os.Root
	base string
	top  string // the one name below which all entries lie
	seen bool
	dirs []directory
}

type directory struct {
	name  string
	mode  fs.FileMode
	mtime time.Time
}

// local is the name below root for an entry's name.
func (u *unpacker) local(name string) (string, error) {
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	top, rest, _ := strings.Cut(clean, "/")
	if !u.seen {
		u.seen = true
		if first := path.Clean(name); first == "." || first == "/" {
			rest = clean // the content of a directory: "./a", "./b/c"
			u.top = ""
		} else {
			u.top = top
		}
	} else if u.top == "" {
		rest = clean
	} else if top != u.top {
		return "", fmt.Errorf("it lies outside of %q", u.top)
	}
	return path.Join(u.base, rest), nil
}

func (u *unpacker) entry(h *tar.Header, r io.Reader) error {
	name, err := u.local(h.Name)
	if err != nil {
		return err
	}
	if parent := path.Dir(name); parent != "." {
		if err := u.root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.directory(h, name)
	case tar.TypeReg:
		err = u.regular(h, name, r)
	case tar.TypeSymlink:
		if err = u.clear(name); err == nil {
			err = u.root.Symlink(h.Linkname, name)
		}
	case tar.TypeLink:
		err = u.link(h, name)
	case tar.TypeFifo:
		if err = u.clear(name); err == nil {
			err = mkfifo(u.root, name, h.FileInfo().Mode().Perm())
		}
	default:
		if u.Skipped != nil {
			u.Skipped(h.Name)
		}
		return nil
	}
	if err != nil {
		return err
	}
	return u.own(h, name)
}

func (u *unpacker) directory(h *tar.Header, name string) error {
	st, err := u.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := u.root.Mkdir(name, 0o700); err != nil {
			return err
		}
	case err != nil:
		return err
	case !st.IsDir() && name != u.base:
		return fmt.Errorf("cannot overwrite non-directory %q with directory %q", name, h.Name)
	case name == u.base:
		return nil // what was there keeps its mode
	}
	u.dirs = append(u.dirs, directory{name, u.mode(h), h.ModTime})
	return u.own(h, name)
}

func (u *unpacker) regular(h *tar.Header, name string, r io.Reader) (err error) {
	if err := u.clear(name); err != nil {
		return err
	}
	f, err := u.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			err = u.root.Chtimes(name, time.Now(), h.ModTime)
		}
	}()
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	if u.Archive { // a change of owner clears the bits of the mode
		if err := f.Chown(h.Uid, h.Gid); err != nil && os.Geteuid() == 0 {
			return err
		}
	}
	return f.Chmod(u.mode(h))
}

// link makes a hard link to an entry that came before.
func (u *unpacker) link(h *tar.Header, name string) error {
	old, err := u.local(h.Linkname)
	if err != nil {
		return err
	}
	if st, err := u.root.Lstat(old); err != nil {
		return err
	} else if !st.Mode().IsRegular() {
		return fmt.Errorf("it is a link to %q, which is no regular file", h.Linkname)
	}
	if old == name {
		return nil
	}
	if err := u.clear(name); err != nil {
		return err
	}
	return u.root.Link(old, name)
}

// clear makes room for something that is no directory.
func (u *unpacker) clear(name string) error {
	st, err := u.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.IsDir() {
		return fmt.Errorf("cannot overwrite directory %q with a non-directory", name)
	}
	return u.root.Remove(name)
}

// mode is that of an entry; without Archive a file cannot bring rights of
// another user along.
func (u *unpacker) mode(h *tar.Header) fs.FileMode {
	m := h.FileInfo().Mode()
	if u.Archive {
		return m.Perm() | m&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)
	}
	return m.Perm() | m&fs.ModeSticky
}

func (u *unpacker) own(h *tar.Header, name string) error {
	if !u.Archive || h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeLink {
		return nil
	}
	if err := u.root.Lchown(name, h.Uid, h.Gid); err != nil && os.Geteuid() == 0 {
		return err
	}
	return nil
}

// finish sets what the making of entries changes: modes and times of
// directories, the innermost first.
func (u *unpacker) finish() error {
	for i := len(u.dirs) - 1; i >= 0; i-- {
		d := u.dirs[i]
		if st, err := u.root.Lstat(d.name); err != nil || !st.IsDir() {
			continue // replaced later in the stream
		}
		if err := u.root.Chmod(d.name, d.mode); err != nil {
			return err
		}
		if err := u.root.Chtimes(d.name, time.Now(), d.mtime); err != nil {
			return err
		}
	}
	return nil
}
