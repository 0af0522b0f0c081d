package erofs

import (
	"fmt"
	"path"
	"strings"
)

// Names that mean something in a layer (OCI image specification, "Image Layer
// Filesystem Changeset", Whiteouts).
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	metaPrefix     = ".wh..wh." // others that start so were left by aufs and mean nothing
)

const (
	maxPath    = 4096 // Linux's PATH_MAX
	maxSymlink = 4095 // and what a symlink may hold
)

// cleanPath turns the name of an entry or of a link's target into a path below
// the root without empty, "." and ".." components; "" is the root itself. A
// leading slash means the root. What leads outside of it is refused.
func cleanPath(name string) (string, error) {
	if len(name) > maxPath {
		return "", fmt.Errorf("%w: its name is longer than %d bytes", ErrLimit, maxPath)
	}
	if strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%w: its name has a NUL", ErrTar)
	}
	clean := path.Clean(strings.TrimLeft(name, "/"))
	switch {
	case clean == ".":
		return "", nil
	case clean == "..", strings.HasPrefix(clean, "../"):
		return "", fmt.Errorf("%w: its name leads outside of the root", ErrTar)
	}
	for part := range strings.SplitSeq(clean, "/") {
		if len(part) > maxName {
			return "", fmt.Errorf("%w: a component of its name is longer than %d bytes", ErrLimit, maxName)
		}
	}
	return clean, nil
}

// A meaning is what an entry's name says about it.
type meaning int

const (
	plainEntry    meaning = iota
	whiteoutEntry         // the lower layers' file of the returned name is gone
	opaqueEntry           // all that lower layers have in the directory is gone
	ignoredEntry
)

// classify splits a clean path into its directory and its name and says what
// the name means; for a whiteout the name is that of what it hides.
func classify(clean string) (m meaning, dir, name string, err error) {
	dir, name = path.Split(clean)
	dir = strings.TrimSuffix(dir, "/")
	if !strings.Contains(clean, whiteoutPrefix) {
		return plainEntry, dir, name, nil
	}
	for part := range strings.SplitSeq(dir, "/") {
		switch {
		case strings.HasPrefix(part, metaPrefix):
			return ignoredEntry, "", "", nil
		case strings.HasPrefix(part, whiteoutPrefix):
			return 0, "", "", fmt.Errorf("%w: names that start with %s are for whiteouts, which hold nothing", ErrTar, whiteoutPrefix)
		}
	}
	hidden, isWhiteout := strings.CutPrefix(name, whiteoutPrefix)
	switch {
	case name == opaqueName:
		return opaqueEntry, dir, "", nil
	case strings.HasPrefix(name, metaPrefix):
		return ignoredEntry, "", "", nil
	case isWhiteout && (hidden == "" || hidden == "." || hidden == ".."):
		return 0, "", "", fmt.Errorf("%w: a whiteout of no file", ErrTar)
	case isWhiteout:
		return whiteoutEntry, dir, hidden, nil
	}
	return plainEntry, dir, name, nil
}
