package compare

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cached counts a file's pages in the page cache.
func cached(t *testing.T, f *os.File) (n int) {
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	size := int(info.Size())
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	pages := make([]byte, (size+os.Getpagesize()-1)/os.Getpagesize())
	// SAFETY: pages has a byte for each page of the mapping.
	if _, _, e := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(size), uintptr(unsafe.Pointer(&pages[0]))); e != 0 {
		t.Fatal(e)
	}
	for _, p := range pages {
		n += int(p & 1)
	}
	return n
}
