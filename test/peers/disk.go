package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// flush writes out what waits in memory for the disk under this run's folder.
func (p *place) flush() error {
	dir, err := os.Open(p.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("cannot write out what is in memory: %w", err)
	}
	return nil
}

// written is how many bytes the disk under this run's folder has been told to
// write, after all that waits in memory has been.
func (p *place) written() (int64, error) {
	if err := p.flush(); err != nil {
		return 0, err
	}
	var st unix.Stat_t
	if err := unix.Stat(p.dir, &st); err != nil {
		return 0, err
	}
	b, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return 0, absence("the file system of " + p.dir + " has no disk of its own whose writes could be counted")
	}
	f := strings.Fields(string(b))
	if len(f) < 7 {
		return 0, absence("the disk does not count what it writes")
	}
	sectors, err := strconv.ParseInt(f[6], 10, 64)
	return sectors * 512, err
}
