package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// layers are the EROFS mounts of this agent, each once, with a count of users.
type layers struct {
	dir string // mount points are made here

	mu     sync.Mutex
	next   int
	mounts map[agent.Layer]*layerMount
}

// layerMount is one mounted layer.
type layerMount struct {
	dir   string
	users int
	ready chan struct{} // closed when err is set
	err   error
	key   agent.Layer
}

func newLayers(dir string) *layers {
	return &layers{dir: dir, mounts: map[agent.Layer]*layerMount{}}
}

// acquire mounts a layer unless it is mounted. The user gives it back with release.
func (l *layers) acquire(layer agent.Layer) (*layerMount, error) {
	l.mu.Lock()
	m, ok := l.mounts[layer]
	if ok {
		m.users++
		l.mu.Unlock()
		<-m.ready
		if m.err != nil {
			l.release(m)
			return nil, m.err
		}
		return m, nil
	}
	l.next++
	m = &layerMount{dir: filepath.Join(l.dir, strconv.Itoa(l.next)), users: 1, ready: make(chan struct{}), key: layer}
	l.mounts[layer] = m
	l.mu.Unlock()

	m.err = m.mount()
	close(m.ready)
	if m.err != nil {
		l.release(m)
		return nil, m.err
	}
	return m, nil
}

// release gives a layer back and unmounts it after its last user.
func (l *layers) release(m *layerMount) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m.users--
	if m.users > 0 {
		return
	}
	if l.mounts[m.key] == m {
		delete(l.mounts, m.key)
	}
	unix.Unmount(m.dir, unix.MNT_DETACH)
	os.Remove(m.dir)
	_ = dropPartition(m.key) // who needs its place hears of it
}

func (m *layerMount) mount() error {
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the mount point of a layer: %w", err)
	}
	fd, err := mountErofs(m.key)
	if err != nil {
		return fmt.Errorf("cannot mount the layer %s: %w", m.key.Path, err)
	}
	defer unix.Close(fd)
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, m.dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("cannot attach the layer %s: %w", m.key.Path, err)
	}
	return nil
}

func mountErofs(layer agent.Layer) (int, error) {
	var st unix.Stat_t
	if err := unix.Stat(layer.Path, &st); err != nil {
		return -1, err
	}
	mount := func(source string) (int, error) {
		return fsMount("erofs", unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NODEV, "source="+source, "ro")
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFBLK:
		source := layer.Path
		if layer.Offset != 0 || layer.Size != 0 {
			var err error
			if source, err = partition(layer); err != nil {
				return -1, err
			}
		}
		return mount(source)
	case unix.S_IFREG:
		if layer.Offset != 0 {
			return -1, &agent.Error{Class: agent.ClassInvalid, Message: "a layer in a file begins at 0"}
		}
	default:
		return -1, &agent.Error{Class: agent.ClassInvalid, Message: "a layer is a file or a block device"}
	}
	// Linux 6.12 mounts EROFS straight from a file, unless that is on tmpfs and the like.
	fd, err := -1, error(unix.ENOTBLK)
	if len(layer.Path) < 256 { // the most that fsconfig takes
		fd, err = mount(layer.Path)
	}
	if err == nil || !errors.Is(err, unix.ENOTBLK) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EINVAL) {
		return fd, err
	}
	loop, err := attachLoop(layer.Path)
	if err != nil {
		return -1, err
	}
	defer loop.Close() // the mount keeps it; with the mount it goes
	return mount(loop.Name())
}
