package runtime

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links a path may go through, as in the kernel.
const maxLinks = 40

// mountPoint opens target below root for a mount, and makes what is missing of
// it: directories, and at the end a directory or an empty file. It never leaves
// root. made gets every path that was made.
func mountPoint(root int, target string, dir bool, made *[]string) (int, error) {
	rest := path.Clean("/" + target)
	for range maxLinks {
		fd, err := inRoot(root, rest, unix.O_PATH, 0, 0)
		if err == nil {
			is, err := isDir(fd)
			if err == nil && is != dir {
				err = unix.ENOTDIR
				if is {
					err = unix.EISDIR
				}
			}
			if err != nil {
				unix.Close(fd)
				return -1, fmt.Errorf("cannot mount on %s: %w: mount a directory onto a directory and a file onto a file", target, err)
			}
			return fd, nil
		}
		if err != unix.ENOENT {
			return -1, fmt.Errorf("cannot open %s: %w", target, err)
		}
		link, err := makeMissing(root, rest, dir, made)
		if err != nil {
			return -1, fmt.Errorf("cannot make the mount point %s: %w", target, err)
		}
		if link != "" {
			rest = link
		}
	}
	return -1, fmt.Errorf("cannot make the mount point %s: %w", target, unix.ELOOP)
}

// makeMissing makes what is missing of p. When it finds a link that leads
// nowhere it returns the path to go on with.
func makeMissing(root int, p string, dir bool, made *[]string) (string, error) {
	// The longest part that exists.
	have, names := p, []string{}
	var at int
	for {
		have, names = path.Dir(have), append([]string{path.Base(have)}, names...)
		fd, err := inRoot(root, have, unix.O_PATH|unix.O_DIRECTORY, 0, 0)
		if err == nil {
			at = fd
			break
		}
		if err != unix.ENOENT || have == "/" {
			return "", err
		}
	}
	defer func() { unix.Close(at) }()
	for i, name := range names {
		var err error
		if last := i == len(names)-1; last && !dir {
			var fd int
			fd, err = unix.Openat(at, name, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_WRONLY, 0o644)
			if err == nil {
				unix.Close(fd)
			}
		} else {
			err = unix.Mkdirat(at, name, 0o755)
		}
		if err == unix.EEXIST {
			to := make([]byte, unix.PathMax)
			n, lerr := unix.Readlinkat(at, name, to)
			if lerr != nil {
				continue // somebody else made it: look again
			}
			link := string(to[:n])
			if !strings.HasPrefix(link, "/") {
				link = path.Join(have, path.Join(names[:i]...), link)
			}
			return path.Join("/", link, path.Join(names[i+1:]...)), nil
		}
		if err != nil {
			return "", err
		}
		if made != nil {
			*made = append(*made, path.Join(have, path.Join(names[:i+1]...)))
		}
		if i == len(names)-1 {
			break
		}
		next, err := unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", err
		}
		unix.Close(at)
		at = next
	}
	return "", nil
}
