package network

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// lockHost takes the lock that engines of one host share and returns what
// releases it. The file stays: removing it would let two hold the lock.
func lockHost(ctx context.Context) (func(), error) {
	fd, err := unix.Open(lockPath, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", lockPath, err)
	}
	for {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = unix.Close(fd) }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = unix.Close(fd)
			return nil, fmt.Errorf("cannot lock %s: %w", lockPath, err)
		}
		select {
		case <-ctx.Done():
			_ = unix.Close(fd)
			return nil, fmt.Errorf("cannot lock %s, which another engine holds: %w", lockPath, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// lockName takes a bridge's name for this process, until release or its end,
// however it ends. Of the file that engines share it locks one byte, far
// behind its end, which the name stands for: so names leave no files, and
// users who are not root cannot take one.
func lockName(bridge string) (release func(), err error) {
	fd, err := unix.Open(lockPath, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", lockPath, err)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(bridge)) // it never fails
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: int64(h.Sum64() >> 2), Len: 1}
	err = unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lock)
	if err == nil {
		return func() { _ = unix.Close(fd) }, nil
	}
	_ = unix.Close(fd)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return nil, fmt.Errorf("cannot use bridge %s: another engine that runs has this name; give this engine another with --bridge, or end that one first: %w", bridge, errdefs.ErrFailedPrecondition)
	}
	return nil, fmt.Errorf("cannot lock the name of bridge %s in %s: %w", bridge, lockPath, err)
}

// keyedMutex serialises work on one ID. The zero value is ready to use.
type keyedMutex struct {
	mu sync.Mutex
	m  map[string]*keyLock
}

type keyLock struct {
	sync.Mutex
	users int
}

// lock waits for the key and returns what releases it.
func (k *keyedMutex) lock(key string) func() {
	k.mu.Lock()
	if k.m == nil {
		k.m = map[string]*keyLock{}
	}
	l := k.m[key]
	if l == nil {
		l = &keyLock{}
		k.m[key] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.m, key)
		}
	}
}
