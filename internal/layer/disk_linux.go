package layer

import (
	"os"

	"golang.org/x/sys/unix"
)

// An eager is a file whose content goes to the disk while it is written, so
// that less is left for the fsync at the end. Each part waits for the one
// behind it, as what was just written may be completed.
type eager struct {
	*os.File
	from, to int64 // what was written last
}

// eagerSize is from how many bytes on a write is worth a system call more.
const eagerSize = 256 << 10

func (e *eager) WriteAt(p []byte, at int64) (int, error) {
	n, err := e.File.WriteAt(p, at)
	if n < eagerSize {
		return n, err
	}
	if e.to > e.from {
		// It only begins what fsync ends and checks.
		_ = unix.SyncFileRange(int(e.Fd()), e.from, e.to-e.from, unix.SYNC_FILE_RANGE_WRITE)
	}
	e.from, e.to = at, at+int64(n)
	return n, err
}
