package erofs

import (
	"fmt"
	"maps"
	"slices"
)

// A listing is a directory as it is written. Its data is blocks that each
// begin with struct erofs_dirent for a sorted run of names, and then hold the
// names; the kernel looks a name up by halving, first over the blocks and then
// in one. The last block may stand behind the inode.
type listing struct {
	node, parent *node
	inode        inode
	names        []string // sorted by their bytes, with "." and ".."
	data         int64    // where its blocks start
}

// entry returns what the listing says of a name.
func (l *listing) entry(name string) *node {
	switch name {
	case ".":
		return l.node
	case "..":
		return l.parent
	}
	return l.node.dir.entries[name]
}

// runs returns how many names stand in each block, and how many bytes the last
// block has; no other block counts as less than full.
func (l *listing) runs() (runs []int, last int) {
	count := 0
	for _, name := range l.names {
		if last+direntSize+len(name) > blockSize {
			runs = append(runs, count)
			count, last = 0, 0
		}
		count++
		last += direntSize + len(name)
	}
	return append(runs, count), last
}

// bytes returns the directory's data.
func (l *listing) bytes() []byte {
	runs, last := l.runs()
	data := make([]byte, 0, len(runs)*blockSize)
	names := l.names
	for i, count := range runs {
		offset := count * direntSize
		for _, name := range names[:count] {
			n := l.entry(name)
			data = appendDirent(data, n.nid, offset, n.kind)
			offset += len(name)
		}
		for _, name := range names[:count] {
			data = append(data, name...)
		}
		names = names[count:]
		if i < len(runs)-1 {
			data = append(data, zeros[:blockSize-offset]...)
		}
	}
	if len(data) != (len(runs)-1)*blockSize+last {
		panic("erofs: a directory's size was computed wrongly")
	}
	return data
}

// place gives a directory and all below it their places, and adds them to all.
func (w *writer) place(all []*listing, n, parent *node) ([]*listing, error) {
	names := slices.AppendSeq([]string{".", ".."}, maps.Keys(n.dir.entries))
	slices.Sort(names)
	l := &listing{node: n, parent: parent, names: names}
	if err := w.placeOne(l); err != nil {
		return nil, err
	}
	all = append(all, l)
	for _, name := range names {
		if child := n.dir.entries[name]; child != nil && child.dir != nil {
			l.inode.nlink++
			var err error
			if all, err = w.place(all, child, n); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// placeOne decides where the directory's inode and its data stand.
func (w *writer) placeOne(l *listing) error {
	d := l.node.dir
	attrs := d.attrs
	if d.opaque {
		attrs = map[string]string{opaqueXattr: "y"}
		maps.Copy(attrs, d.attrs)
	}
	body, err := encodeXattrs(attrs)
	if err != nil {
		return err
	}
	runs, last := l.runs()
	full := int64(len(runs)-1) * blockSize
	l.inode = inode{
		kind: typeDirectory, perm: d.perm, uid: d.uid, gid: d.gid, mtime: d.mtime,
		nlink: 2, size: full + int64(last), union: noBlock, xattrs: body,
	}
	isRoot := l.node == w.tree.root
	room := blockSize
	if isRoot {
		room -= w.root
		if inodeSize+len(body) > room {
			return fmt.Errorf("%w: the root directory's extended attributes have more than %d bytes", ErrLimit, room-inodeSize)
		}
	}
	if inodeSize+len(body)+last <= room {
		l.inode.layout = layoutInline
	} else {
		full += int64(last)
		last = 0
	}
	if full > 0 {
		if l.data, err = w.out.alloc(full); err != nil {
			return err
		}
		l.inode.union = uint32(l.data >> blockBits)
	}
	at := int64(w.root)
	if !isRoot {
		if at, err = w.slots.alloc(inodeSize + len(body) + last); err != nil {
			return err
		}
	}
	l.node.nid = uint64(at / slotSize)
	return nil
}

// directory writes a directory that has its place.
func (w *writer) directory(l *listing) error {
	blocks, behind := l.bytes(), []byte(nil)
	if l.inode.layout == layoutInline {
		whole := (len(blocks) - 1) / blockSize * blockSize
		blocks, behind = blocks[:whole], blocks[whole:]
	}
	if err := w.out.writeAt(blocks, l.data); err != nil {
		return err
	}
	return w.write(&l.inode, behind, int64(l.node.nid)*slotSize)
}
