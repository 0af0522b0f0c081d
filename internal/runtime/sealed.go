package runtime

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// programSeals are those of a program that nobody can change.
const programSeals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL

// ExecSealed executes this program anew, with its arguments and the environment
// env, from the copy that a container's first processes are made of. They have
// their code in common with it then: one copy in memory, and under emulation
// one translation. It returns only errors. /proc has to be mounted.
func ExecSealed(env []string) error {
	f, err := sealedSelf()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syscall.Exec(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.Args, env); err != nil {
		return fmt.Errorf("cannot execute the copy of the agent: %w", err)
	}
	return nil
}

// sealedSelf copies this program into a memory file that nobody can write,
// read or replace any more: what executes it in a container exposes neither
// the host's file (CVE-2019-5736) nor, being unreadable, its own memory to
// processes of the container (execve(2) on dumpable).
func sealedSelf() (*os.File, error) {
	src, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("cannot open the agent's own program: %w", err)
	}
	if have, err := unix.FcntlInt(src.Fd(), unix.F_GET_SEALS, 0); err == nil && have&programSeals == programSeals {
		defer src.Close() // ExecSealed was here
		return above(src)
	}
	defer src.Close()
	fd, err := unix.MemfdCreate("abode-agent", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL { // before 6.3
		fd, err = unix.MemfdCreate("abode-agent", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot make a memory file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "abode-agent")
	if _, err = io.Copy(f, src); err == nil {
		if err = f.Chmod(0o111); err == nil {
			_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, programSeals)
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot copy the agent's own program: %w", err)
	}
	// What is open for writing cannot be executed.
	ro, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("cannot open the copy of the agent: %w", err)
	}
	defer ro.Close()
	return above(ro)
}

// above returns f with a number that no descriptor of a stage takes.
func above(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 2*maxFDs)
	if err != nil {
		return nil, fmt.Errorf("cannot duplicate the copy of the agent: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
