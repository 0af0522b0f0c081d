package copy

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// Place is where something is to be copied to: what is known of it.
type Place struct {
	Path   string
	Exists bool
	IsDir  bool
}

// Target is the name that source gets when it is copied to dst: as for
// Docker's cp, inside of a directory that exists, or as dst itself; the
// content of a directory alone when source ends with "/.".
func Target(source string, sourceIsDir bool, dst Place) (string, error) {
	clean := path.Clean(dst.Path)
	switch {
	case dst.Exists && dst.IsDir:
		if ContentOnly(source) || path.Clean(source) == "/" {
			return clean, nil
		}
		return path.Join(clean, Base(source)), nil
	case dst.Exists && sourceIsDir:
		return "", fmt.Errorf("cannot copy a directory to the file %s", dst.Path)
	case dst.Exists && AssertsDir(dst.Path):
		return "", fmt.Errorf("not a directory: %s", dst.Path)
	case !dst.Exists && !sourceIsDir && AssertsDir(dst.Path):
		return "", errors.New("the destination directory must exist: " + dst.Path)
	}
	return clean, nil
}

// ContentOnly tells that a path stands for what is in a directory.
func ContentOnly(p string) bool { return p == "." || strings.HasSuffix(p, "/.") }

// AssertsDir tells that a path can only mean a directory.
func AssertsDir(p string) bool { return strings.HasSuffix(p, "/") || ContentOnly(p) }

// Base is the last name of a path.
func Base(p string) string { return path.Base(path.Clean(p)) }

// Split separates CONTAINER:PATH. A path that is absolute or starts with a
// dot is one of the host, whatever colons it has.
func Split(arg string) (container, file string) {
	if strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, ".") {
		return "", arg
	}
	container, file, ok := strings.Cut(arg, ":")
	if !ok {
		return "", arg
	}
	return container, file
}
