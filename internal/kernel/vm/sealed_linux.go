package vm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// newMemory returns an anonymous file of the given size in bytes, all holes.
func newMemory(name string, size int64) (*os.File, error) {
	const noExecSeal = 0x8 // MFD_NOEXEC_SEAL, Linux 6.3; some hosts insist on it
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|noExecSeal)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot make an anonymous file: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := f.Truncate(size); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot size an anonymous file: %w", err)
	}
	return f, nil
}

// seal makes the file's content or size unchangeable for everybody and for good.
func seal(f *os.File, seals int) error {
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("cannot seal %s: %w", f.Name(), err)
	}
	return nil
}

// readOnly seals everything: the file can be handed to anybody.
func readOnly(f *os.File) error {
	return seal(f, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
}

// reopen opens the same file anew, with an offset of its own.
func reopen(f *os.File, flags int) (*os.File, error) {
	g, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), flags, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot reopen %s: %w", f.Name(), err)
	}
	return g, nil
}

// noteSize is how much of what a hypervisor says is kept.
const noteSize = 64 << 10

// newNote returns a file that takes noteSize bytes and refuses more, so that
// what a hypervisor or a guest's kernel says can fill neither disk nor memory.
func newNote(name string) (*os.File, error) {
	f, err := newMemory(name, noteSize)
	if err != nil {
		return nil, err
	}
	if err := seal(f, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// noteText returns what was written to a note, at most the last n bytes, on
// one line, printable.
func noteText(f *os.File, n int) string {
	if f == nil {
		return ""
	}
	b, _ := io.ReadAll(io.NewSectionReader(f, 0, noteSize))
	b = bytes.TrimRight(b, "\x00")
	if len(b) > n {
		b = b[len(b)-n:]
	}
	text := strings.Map(func(r rune) rune {
		if r == '\n' {
			return ';'
		}
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return -1
		}
		return r
	}, strings.TrimSpace(string(b)))
	return text
}
