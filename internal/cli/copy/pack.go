// Package copy is the host's side of `cp`: it packs files into the tar
// stream that the engine extracts, and unpacks the one that it sends. A
// stream from a container is hostile: it may come from a guest.
package copy

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Pack writes the file or directory source to w as a tar stream in which it
// has the name root ("." for the content of a directory alone). Links are
// kept as links, sockets left out. Owners are written as numbers.
func Pack(w io.Writer, source, root string) error {
	p := packer{tar: tar.NewWriter(w), links: map[inode]string{}}
	err := filepath.WalkDir(source, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(source, name)
		if err != nil {
			return err
		}
		return p.add(name, path.Join(root, filepath.ToSlash(rel)))
	})
	if err != nil {
		return fmt.Errorf("cannot copy %s: %w", source, err)
	}
	return p.tar.Close()
}

type inode struct{ dev, ino uint64 }

type packer struct {
	tar   *tar.Writer
	links map[inode]string // files with several names → the first one packed
}

func (p *packer) add(file, name string) error {
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket != 0 {
		return nil
	}
	var target string
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = os.Readlink(file); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	h.Name, h.Uname, h.Gname = name, "", "" // numbers: names mean something else there
	h.Format = tar.FormatPAX
	if info.IsDir() {
		h.Name += "/"
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && info.Mode().IsRegular() && st.Nlink > 1 {
		id := inode{st.Dev, st.Ino}
		if first, ok := p.links[id]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		} else {
			p.links[id] = name
		}
	}
	if h.Typeflag != tar.TypeReg {
		return p.tar.WriteHeader(h)
	}
	addCapabilities(h, file)
	return p.content(h, file)
}

func (p *packer) content(h *tar.Header, file string) error {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	// What is open counts, not what stood there when it was looked at.
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s was replaced meanwhile", file)
	}
	h.Size = st.Size()
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	if n, err := io.CopyN(p.tar, f, h.Size); err != nil {
		return fmt.Errorf("%s became shorter after %d bytes: %w", file, n, err)
	}
	return nil
}

// addCapabilities keeps the file capabilities, which are an extended
// attribute.
func addCapabilities(h *tar.Header, file string) {
	const name = "security.capability"
	b := make([]byte, 128)
	n, err := unix.Lgetxattr(file, name, b)
	if err != nil || n <= 0 {
		return
	}
	h.PAXRecords = map[string]string{"SCHILY.xattr." + name: string(b[:n])}
}
