package runtime

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// identity is whom the workload runs as.
type identity struct {
	Uid, Gid int
	Groups   []int
	Home     string
}

// lookupUser finds an image's user in the passwd and group files of the root
// that this process stands in.
func lookupUser(spec string, additional []string) (identity, error) {
	passwd, err := readDatabase("/etc/passwd")
	if err != nil {
		return identity{}, err
	}
	group, err := readDatabase("/etc/group")
	if err != nil {
		return identity{}, err
	}
	defaults := user.ExecUser{Home: "/"}
	u, err := user.GetExecUser(spec, &defaults, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return identity{}, errorf(agent.ClassInvalid, "%w", err) // it names the user
	}
	id := identity{Uid: u.Uid, Gid: u.Gid, Groups: u.Sgids, Home: u.Home}
	if len(additional) > 0 {
		gids, err := user.GetAdditionalGroups(additional, bytes.NewReader(group))
		if err != nil {
			return identity{}, errorf(agent.ClassInvalid, "unable to find the additional groups: %w", err)
		}
		id.Groups = append(id.Groups, gids...)
	}
	if id.Home == "" {
		id.Home = "/"
	}
	return id, nil
}

// maxDatabase bounds what is read of an image's passwd and group files.
const maxDatabase = 16 << 20

// readDatabase reads a file of an image, which may be anything: a pipe that
// never ends, or missing.
func readDatabase(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil // missing or unreadable: numbers still work
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, nil
	}
	b, err := io.ReadAll(io.LimitReader(f, maxDatabase+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	if len(b) > maxDatabase {
		return nil, errorf(agent.ClassInvalid, "the image's %s is larger than %d bytes", path, maxDatabase)
	}
	return b, nil
}

// becomeUser takes the workload's IDs and keeps, until the last step, the
// capabilities that this takes.
func (p *program) becomeUser() error {
	// SAFETY of raw system calls here: credentials are the thread's own, and
	// this thread alone executes the workload; the standard library's would
	// ask all threads.
	if _, _, e := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0, 0, 0, 0); e != 0 {
		return fmt.Errorf("cannot keep capabilities: %w", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(p.user.Gid), uintptr(p.user.Gid), uintptr(p.user.Gid)); e != 0 {
		return idError("group", p.user.Gid, e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(p.user.Uid), uintptr(p.user.Uid), uintptr(p.user.Uid)); e != 0 {
		return idError("user", p.user.Uid, e)
	}
	unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 0, 0, 0, 0, 0)
	if err := pdeathsig(); err != nil {
		return fmt.Errorf("cannot tie the process to the agent: %w", err)
	}
	// A user other than root has lost what was effective, so that the program
	// is looked up with the user's eyes. Seccomp without no_new_privs needs
	// CAP_SYS_ADMIN until the end.
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&head, &have[0]); err != nil {
		return fmt.Errorf("cannot read capabilities: %w", err)
	}
	permitted := uint64(have[0].Permitted) | uint64(have[1].Permitted)<<32
	p.caps.permitted &= permitted
	p.caps.effective &= p.caps.permitted
	p.caps.inheritable &= permitted & p.caps.bounding
	p.caps.ambient &= p.caps.permitted & p.caps.inheritable
	if !p.NoNewPrivs && len(p.Seccomp) > 0 {
		have[0].Effective |= have[0].Permitted & (1 << unix.CAP_SYS_ADMIN)
		if err := unix.Capset(&head, &have[0]); err != nil {
			return fmt.Errorf("cannot adjust capabilities: %w", err)
		}
	}
	return nil
}

func idError(kind string, id int, err error) error {
	return errorf(agent.ClassInvalid, "cannot become %s %d: %w: is it within the container's user namespace?", kind, id, err)
}
