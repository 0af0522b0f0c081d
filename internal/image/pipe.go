package image

import (
	"io"
	"sync"
)

// A pipe passes a stream from one goroutine to another, and holds a little of
// it: so that the network is not idle while the reader works.
type pipe struct {
	full, empty chan []byte
	closed      chan struct{} // by the reader
	once        sync.Once
	err         error // what the reader gets at the end; valid when full is closed
	last, rest  []byte
}

const (
	pipeBuffers = 8
	pipeSize    = 256 << 10
)

func newPipe() *pipe {
	p := &pipe{full: make(chan []byte, pipeBuffers), empty: make(chan []byte, pipeBuffers), closed: make(chan struct{})}
	for range pipeBuffers {
		p.empty <- nil // made when it is needed: most layers are small
	}
	return p
}

// write passes b on, or drops it when the reader has closed the pipe.
func (p *pipe) write(b []byte) {
	for len(b) > 0 {
		select {
		case <-p.closed:
			return
		case buf := <-p.empty:
			if buf == nil {
				buf = make([]byte, 0, pipeSize)
			}
			n := min(len(b), cap(buf))
			p.full <- append(buf[:0], b[:n]...) // has room for all buffers
			b = b[n:]
		}
	}
}

// closeWrite ends the stream; err is what the reader gets behind it.
func (p *pipe) closeWrite(err error) {
	p.err = err
	close(p.full)
}

// closeRead says that nothing is read any more.
func (p *pipe) closeRead() { p.once.Do(func() { close(p.closed) }) }

// Read implements io.Reader.
func (p *pipe) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		if p.last != nil {
			p.empty <- p.last
			p.last = nil
		}
		next, ok := <-p.full
		if !ok {
			return 0, p.err
		}
		p.last, p.rest = next, next
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

var _ io.Reader = (*pipe)(nil)
