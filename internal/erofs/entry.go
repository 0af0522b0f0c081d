package erofs

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"strings"
)

// A writer turns entries into inodes.
type writer struct {
	ctx     context.Context // of FromTar
	out     *output
	slots   slots
	tree    *tree
	opts    Options
	bytes   int64    // of all files, against Options.MaxBytes
	numbers uint32   // i_ino of the last inode
	chunked bool     // some file has holes
	packed  bool     // some file is compressed
	chunks  []uint32 // of the file that is read
	scratch []byte   // an inode and what stands behind it
	tail    []byte   // the end of a file that goes behind its inode
	root    int      // where the root directory's inode stands in block 0
	in      *position
	recipe  *recipe     // with Options.Recipe
	comp    *compressor // with Options.Compress
	start   []byte      // of the file that is read, to see whether it has holes
}

// add takes one entry of the archive into the tree.
func (w *writer) add(h *tar.Header, data io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // records of no file
	}
	if hasData(h) {
		// All data counts, used or not: reading a hole takes time as well.
		if h.Size > w.opts.MaxBytes-w.bytes {
			return fmt.Errorf("%w: the files of the archive have more than %d bytes", ErrLimit, w.opts.MaxBytes)
		}
		w.bytes += h.Size
	}
	clean, err := cleanPath(h.Name)
	if err != nil {
		return err
	}
	what, dir, name, err := classify(clean)
	if err != nil || what == ignoredEntry {
		return err
	}
	if clean == "" {
		if h.Typeflag != tar.TypeDir {
			return fmt.Errorf("%w: the root is a directory", ErrTar)
		}
		return w.describe(w.tree.root.dir, h)
	}
	var target *node
	if h.Typeflag == tar.TypeLink && what == plainEntry {
		// Before what is in the way goes, for that may be the target.
		if target, err = w.linkTarget(h.Linkname); err != nil {
			return err
		}
	}
	parent, err := w.tree.directory(dir)
	if err != nil {
		return err
	}
	switch {
	case what == whiteoutEntry:
		return w.tree.hide(parent, name)
	case what == opaqueEntry:
		parent.opaque = true
		return nil
	case target != nil:
		return w.link(parent, name, target)
	case h.Typeflag == tar.TypeDir:
		d, err := w.tree.subdirectory(parent, name)
		if err != nil {
			return err
		}
		return w.describe(d, h)
	}
	n, err := w.file(h, data)
	if err != nil {
		return err
	}
	return w.tree.put(parent, name, n)
}

// linkTarget finds what a hard link names. It must have come before, in the
// same archive.
func (w *writer) linkTarget(name string) (*node, error) {
	clean, err := cleanPath(name)
	if err != nil {
		return nil, fmt.Errorf("the target %q of the hard link: %w", abbreviate(name), err)
	}
	n := w.tree.lookup(clean)
	switch {
	case n == nil || n.whiteout:
		return nil, fmt.Errorf("%w: the hard link's target %q is not in the archive before it", ErrTar, abbreviate(name))
	case n.dir != nil:
		return nil, fmt.Errorf("%w: the hard link's target %q is a directory", ErrTar, abbreviate(name))
	}
	return n, nil
}

// link gives n one more name.
func (w *writer) link(parent *directory, name string, n *node) error {
	switch n.nlink {
	case 0: // a directory on the way, made for this entry, has replaced it
		return fmt.Errorf("%w: the hard link's target is in its way", ErrTar)
	case 1:
		w.tree.linked = append(w.tree.linked, n)
	}
	return w.tree.put(parent, name, n)
}

// describe gives a directory what its own entry says; its entries stay.
func (w *writer) describe(d *directory, h *tar.Header) error {
	n, err := w.inode(h)
	if err != nil {
		return err
	}
	if err := w.tree.spend(len(n.xattrs)); err != nil {
		return err
	}
	d.perm, d.uid, d.gid, d.mtime = n.perm, n.uid, n.gid, n.mtime
	d.attrs = xattrs(h)
	return nil
}

// inode is what a header says, for every type.
func (w *writer) inode(h *tar.Header) (inode, error) {
	n := inode{perm: uint16(h.Mode & 0o7777), mtime: h.ModTime, nlink: 1}
	var err error
	if n.uid, err = owner(h.Uid); err != nil {
		return n, err
	}
	if n.gid, err = owner(h.Gid); err != nil {
		return n, err
	}
	n.xattrs, err = encodeXattrs(xattrs(h))
	return n, err
}

// hasData tells whether data follows the header: only then is Size its size.
func hasData(h *tar.Header) bool {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse: // the reader makes the oldest type TypeReg
		return true
	}
	return false
}

// isSparse tells whether what the archive has of the file may be something else
// than its data: parts of it and where they belong.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// file writes an entry that is not a directory.
func (w *writer) file(h *tar.Header, data io.Reader) (*node, error) {
	n, err := w.inode(h)
	if err != nil {
		return nil, err
	}
	if hasData(h) {
		n.kind = typeRegular
		return w.regular(&n, data, h.Size, isSparse(h))
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		n.kind = typeSymlink
		if h.Linkname == "" || len(h.Linkname) > maxSymlink {
			return nil, fmt.Errorf("%w: a symlink has 1 to %d bytes, this one %d", ErrTar, maxSymlink, len(h.Linkname))
		}
		n.perm = 0o777 // all that Linux knows
		return w.symlink(&n, h.Linkname)
	case tar.TypeChar, tar.TypeBlock:
		n.kind = typeChar
		if h.Typeflag == tar.TypeBlock {
			n.kind = typeBlock
		}
		var ok bool
		if n.union, ok = device(h.Devmajor, h.Devminor); !ok {
			return nil, fmt.Errorf("%w: Linux has no device %d:%d", ErrTar, h.Devmajor, h.Devminor)
		}
	case tar.TypeFifo:
		n.kind = typeFifo
	default:
		return nil, fmt.Errorf("%w: entries of type %q are not known", ErrTar, h.Typeflag)
	}
	return w.put(&n, nil)
}
