package gauge

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// How much is written and read, and for how long at most.
const (
	FileSize   = 256 << 20
	ChunkSize  = 32 << 20 // after which it is synced
	StreamSize = 1 << 20  // of a write and a read in sequence
	BlockSize  = 4 << 10  // of one at a random place
	StreamTime = 2 * time.Second
	BlockTime  = time.Second
	mostBlocks = 100000
)

// disk measures with one file.
type disk struct {
	name string
	size int64
}

func (d *disk) remove() { os.Remove(d.name) }

// buffer is of whole pages, as O_DIRECT wants it, and of bytes that no disk
// can squeeze or leave out.
func buffer(size int) ([]byte, func(), error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot get memory: %w", err)
	}
	var seed [32]byte
	rnd := rand.NewChaCha8(seed)
	_, _ = rnd.Read(b)
	return b, func() { unix.Munmap(b) }, nil
}

func (d *disk) write() (float64, error) {
	b, free, err := buffer(StreamSize)
	if err != nil {
		return 0, err
	}
	defer free()
	d.remove()
	f, err := os.OpenFile(d.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	d.size = 0
	begun := time.Now()
	for d.size < FileSize && time.Since(begun) < StreamTime {
		for range ChunkSize / StreamSize {
			if _, err := f.Write(b); err != nil {
				return 0, err
			}
			d.size += StreamSize
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
	}
	return float64(d.size) / time.Since(begun).Seconds(), nil
}

// open opens the file past the page cache, or where the file system has no
// such thing, with nothing of it in the cache.
func (d *disk) open(advice int) (*os.File, error) {
	if d.size == 0 {
		return nil, errors.New("nothing was written")
	}
	f, err := os.OpenFile(d.name, os.O_RDONLY|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		f, err = os.Open(d.name)
	}
	if err != nil {
		return nil, err
	}
	for _, a := range []int{unix.FADV_DONTNEED, advice} {
		if err := unix.Fadvise(int(f.Fd()), 0, 0, a); err != nil {
			f.Close()
			return nil, fmt.Errorf("cannot drop the file from the page cache: %w", err)
		}
	}
	return f, nil
}

func (d *disk) read() (float64, error) {
	b, free, err := buffer(StreamSize)
	if err != nil {
		return 0, err
	}
	defer free()
	f, err := d.open(unix.FADV_SEQUENTIAL)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	begun, n := time.Now(), 0
	for time.Since(begun) < StreamTime {
		got, err := f.Read(b)
		n += got
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(begun).Seconds(), nil
}

func (d *disk) random() (float64, error) {
	b, free, err := buffer(BlockSize)
	if err != nil {
		return 0, err
	}
	defer free()
	f, err := d.open(unix.FADV_RANDOM)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	begun, n := time.Now(), 0
	for n < mostBlocks && time.Since(begun) < BlockTime {
		if _, err := f.ReadAt(b, rand.Int64N(d.size/BlockSize)*BlockSize); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) / time.Since(begun).Seconds(), nil
}

// sync writes over what the file has already, so that only data has to reach
// the disk.
func (d *disk) sync() (float64, error) {
	if d.size == 0 {
		return 0, errors.New("nothing was written")
	}
	b, free, err := buffer(BlockSize)
	if err != nil {
		return 0, err
	}
	defer free()
	f, err := os.OpenFile(d.name, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var took []float64
	for begun := time.Now(); len(took) < mostBlocks && time.Since(begun) < BlockTime; {
		one := time.Now()
		if _, err := f.WriteAt(b, int64(len(took))*BlockSize%d.size); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		took = append(took, time.Since(one).Seconds())
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}
