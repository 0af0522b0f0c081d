package layer

import (
	"hash"
	"io"
)

const (
	aheadBuffers = 12
	aheadSize    = 256 << 10
)

// An ahead reads a stream in a goroutine of its own and hashes it in another
// one, a few buffers ahead of its reader: decompressing, which the stream mostly
// is, and hashing go on while the file is written, also while the disk is slow.
type ahead struct {
	read        chan []byte // to be hashed
	full, empty chan []byte
	stop        chan struct{}
	done        chan struct{}
	err         error  // how the stream ended; valid when full is closed
	last        []byte // whose rest is read next
	rest        []byte
}

// readAhead starts to read r. All of what Read returns has been written to h;
// more may have been, until Read has returned io.EOF.
func readAhead(r io.Reader, h hash.Hash) *ahead {
	a := &ahead{
		read:  make(chan []byte, aheadBuffers),
		full:  make(chan []byte, aheadBuffers),
		empty: make(chan []byte, aheadBuffers),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	for range aheadBuffers {
		a.empty <- nil // made when it is needed: most layers are small
	}
	go func() {
		defer close(a.done)
		defer close(a.full)
		for p := range a.read {
			h.Write(p)
			a.full <- p // has room for all buffers
		}
	}()
	go func() {
		defer close(a.read)
		for a.err == nil {
			select {
			case <-a.stop:
				a.err = io.ErrClosedPipe
			case p := <-a.empty:
				if p == nil {
					p = make([]byte, aheadSize)
				}
				n := 0
				for n < len(p) && a.err == nil && !a.stopped() {
					var m int
					m, a.err = r.Read(p[n:])
					n += m
				}
				a.read <- p[:n] // has room for all buffers
			}
		}
	}()
	return a
}

func (a *ahead) stopped() bool {
	select {
	case <-a.stop:
		return true
	default:
		return false
	}
}

func (a *ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.last != nil {
			a.empty <- a.last[:cap(a.last)]
			a.last = nil
		}
		next, ok := <-a.full
		if !ok {
			return 0, a.err
		}
		a.last, a.rest = next, next
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close ends the goroutines. It waits for a read that is under way.
func (a *ahead) Close() error {
	close(a.stop)
	<-a.done
	return nil
}
