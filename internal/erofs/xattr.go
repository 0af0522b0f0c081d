package erofs

import (
	"archive/tar"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Prefixes of xattr names that have a number (EROFS_XATTR_INDEX_*). There is
// no way to store a name that has none of them.
var xattrPrefixes = []struct {
	prefix string
	index  uint8
	whole  bool // the prefix is the whole name
}{
	{"user.", 1, false},
	{"system.posix_acl_access", 2, true},
	{"system.posix_acl_default", 3, true},
	{"trusted.", 4, false},
	{"security.", 6, false},
}

const (
	xattrHeaderSize = 12               // sizeof(struct erofs_xattr_ibody_header)
	xattrEntrySize  = 4                // sizeof(struct erofs_xattr_entry)
	maxXattrValue   = 1<<16 - 1        // e_value_size
	maxXattrBody    = 12 + 4*(1<<16-2) // of one file, for i_xattr_icount has 16 bits
	opaqueXattr     = "trusted.overlay.opaque"
	paxXattr        = "SCHILY.xattr."
)

// xattrs picks the extended attributes out of a header's PAX records.
//
// Left out, as other engines do or must: names of a namespace that Linux has
// not (com.apple.…), and overlayfs's own marks, which an archive must not
// place: OCI layers say with whiteouts what those say.
func xattrs(h *tar.Header) map[string]string {
	var found map[string]string
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, paxXattr)
		if !ok || strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		if index, _ := splitXattr(name); index == 0 {
			continue
		}
		if found == nil {
			found = make(map[string]string)
		}
		found[strings.Clone(name)] = strings.Clone(value) // they are parts of the whole header
	}
	return found
}

// splitXattr returns the number of a name's prefix, 0 when it has none, and
// the rest of the name.
func splitXattr(name string) (index uint8, rest string) {
	for _, p := range xattrPrefixes {
		rest, ok := strings.CutPrefix(name, p.prefix)
		if ok && (rest == "") == p.whole {
			return p.index, rest
		}
	}
	return 0, ""
}

// encodeXattrs returns what stands behind an inode: a struct
// erofs_xattr_ibody_header and a struct erofs_xattr_entry for each attribute,
// sorted by name. No attributes are no bytes.
func encodeXattrs(attrs map[string]string) ([]byte, error) {
	if len(attrs) == 0 {
		return nil, nil
	}
	body := make([]byte, xattrHeaderSize)
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		value := attrs[name]
		index, rest := splitXattr(name)
		switch {
		case len(name) > maxName:
			return nil, fmt.Errorf("%w: the name of the extended attribute %.40q… is longer than %d bytes", ErrLimit, name, maxName)
		case len(value) > maxXattrValue:
			return nil, fmt.Errorf("%w: the extended attribute %q is larger than %d bytes", ErrLimit, name, maxXattrValue)
		case strings.ContainsRune(name, 0):
			return nil, fmt.Errorf("%w: the extended attribute %q has a NUL in its name", ErrTar, name)
		}
		body = append(body, uint8(len(rest)), index)
		body = binary.LittleEndian.AppendUint16(body, uint16(len(value)))
		body = append(body, rest...)
		body = append(body, value...)
		body = append(body, zeros[:roundUp(len(body), xattrEntrySize)-len(body)]...)
		if len(body) > maxXattrBody {
			return nil, fmt.Errorf("%w: its extended attributes are larger than %d bytes together", ErrLimit, maxXattrBody)
		}
	}
	return body, nil
}

// hasXattr tells whether an encoded body, which may be cut off, has the name.
func hasXattr(body []byte, name string) bool {
	index, rest := splitXattr(name)
	for at := xattrHeaderSize; at+xattrEntrySize <= len(body); {
		size, value := int(body[at]), int(binary.LittleEndian.Uint16(body[at+2:]))
		start := at + xattrEntrySize
		if body[at+1] == index && start+size <= len(body) && string(body[start:start+size]) == rest {
			return true
		}
		at = roundUp(start+size+value, xattrEntrySize)
	}
	return false
}

// xattrCount is i_xattr_icount for an encoded body.
func xattrCount(body []byte) uint16 {
	if len(body) == 0 {
		return 0
	}
	return uint16((len(body)-xattrHeaderSize)/xattrEntrySize + 1)
}
