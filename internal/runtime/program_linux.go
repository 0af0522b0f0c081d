package runtime

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// program turns a stage, which stands in the container already, into the workload.
type program struct {
	*processConfig
	fds      []int
	userNS   bool
	user     identity
	path     string
	caps     capSets
	warnings []string
}

// prepare does all that can fail for reasons of the caller's.
func (p *program) prepare() (err error) {
	if len(p.Args) == 0 || p.Args[0] == "" {
		return errorf(agent.ClassInvalid, "there is no command to run")
	}
	if p.user, err = lookupUser(p.User, p.Groups); err != nil {
		return err
	}
	if p.caps, err = capabilitySets(p.Caps); err != nil {
		return err
	}
	if value(p.Env, "HOME") == "" {
		p.Env = append(p.Env, "HOME="+p.user.Home)
	}
	if err := p.stdio(); err != nil {
		return err
	}
	if p.Cwd == "" {
		p.Cwd = "/"
	}
	if !path.IsAbs(p.Cwd) {
		return errorf(agent.ClassInvalid, "the working directory %q is not an absolute path", p.Cwd)
	}
	if err := os.MkdirAll(p.Cwd, 0o755); err != nil && !errors.Is(err, unix.EROFS) && !errors.Is(err, unix.EEXIST) {
		return errorf(agent.ClassInvalid, "cannot make the working directory %s: %w", p.Cwd, err)
	}
	p.rlimits()
	if err := p.dropGroupsAndBounding(); err != nil {
		return err
	}
	// As root first, then as the user, who may see more on a network share.
	chdir := unix.Chdir(p.Cwd)
	if err := p.becomeUser(); err != nil {
		return err
	}
	if chdir != nil {
		chdir = unix.Chdir(p.Cwd)
	}
	if chdir != nil {
		return errorf(agent.ClassInvalid, "cannot change to the working directory %s: %w", p.Cwd, chdir)
	}
	if p.path, err = lookPath(p.Args[0], value(p.Env, "PATH")); err != nil {
		return err
	}
	if p.Reaper >= 0 {
		// It runs in front and starts the path that was found.
		p.Args = append([]string{"abode-init", stageArg, stageReap, boolArg(p.Terminal), p.path}, p.Args...)
	}
	return nil
}

func boolArg(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// stdio puts the streams in place. A terminal becomes the controlling one.
func (p *program) stdio() error {
	streams := [3]int{at(p.fds, p.Stdio[0]), at(p.fds, p.Stdio[1]), at(p.fds, p.Stdio[2])}
	if p.Terminal {
		slave := at(p.fds, p.Slave)
		if err := unix.IoctlSetInt(slave, unix.TIOCSCTTY, 0); err != nil {
			return fmt.Errorf("cannot make the terminal the controlling one: %w", err)
		}
		if err := unix.Fchown(slave, p.user.Uid, -1); err != nil && p.user.Uid != 0 {
			p.warnings = append(p.warnings, fmt.Sprintf("the terminal does not belong to user %d: %v", p.user.Uid, err))
		}
		if p.Width > 0 && p.Height > 0 {
			if err := setSize(slave, p.Width, p.Height); err != nil {
				p.warnings = append(p.warnings, fmt.Sprintf("the terminal keeps its size: %v", err))
			}
		}
		streams = [3]int{slave, slave, slave}
	}
	for i, fd := range streams {
		if fd < 0 {
			continue
		}
		if err := unix.Dup3(fd, i, 0); err != nil {
			return fmt.Errorf("cannot connect stream %d: %w", i, err)
		}
	}
	return nil
}

// exec becomes the workload. It returns only errors.
func (p *program) exec() error {
	argv, err := syscall.SlicePtrFromStrings(p.Args)
	if err != nil {
		return errorf(agent.ClassInvalid, "an argument contains a NUL byte")
	}
	envp, err := syscall.SlicePtrFromStrings(p.Env)
	if err != nil {
		return errorf(agent.ClassInvalid, "an environment variable contains a NUL byte")
	}
	file, dir, flags := p.path, unix.AT_FDCWD, 0
	if p.Reaper >= 0 {
		file, dir, flags = "", at(p.fds, p.Reaper), unix.AT_EMPTY_PATH
	}
	name, err := syscall.BytePtrFromString(file)
	if err != nil {
		return errorf(agent.ClassInvalid, "the program's name contains a NUL byte")
	}
	if p.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("cannot forbid new privileges: %w", err)
		}
	}
	errno, what := final(p.Seccomp, p.NoNewPrivs, &p.caps, dir, name, argv, envp, flags)
	if errno == 0 {
		return nil
	}
	if what != "" {
		return fmt.Errorf("cannot %s: %w", what, errno)
	}
	class := agent.ClassNotExecutable
	if errno == unix.ENOENT || errno == unix.ENOTDIR {
		class = agent.ClassNotFound // of a script's interpreter, or of the dynamic linker
	}
	return errorf(class, "exec %s: %w", p.path, errno)
}

// lookPath finds a program as execvp(3) does, with the words that Docker's
// clients look for.
func lookPath(name, pathVar string) (string, error) {
	if strings.Contains(name, "/") {
		err := executable(name)
		switch {
		case err == nil:
			return name, nil
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
			return "", errorf(agent.ClassNotFound, "exec: %q: stat %s: no such file or directory", name, name)
		}
		return "", errorf(agent.ClassNotExecutable, "exec: %q: %w", name, err)
	}
	denied := false
	for _, dir := range strings.Split(pathVar, ":") {
		if dir == "" {
			dir = "."
		}
		full := dir + "/" + name
		err := executable(full)
		if err == nil {
			return full, nil
		}
		denied = denied || errors.Is(err, unix.EACCES)
	}
	if denied {
		return "", errorf(agent.ClassNotExecutable, "exec: %q: permission denied", name)
	}
	return "", errorf(agent.ClassNotFound, "exec: %q: executable file not found in $PATH", name)
}

func executable(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return fmt.Errorf("is a directory: %w", unix.EACCES)
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}

// value returns the last value of a variable.
func value(env []string, name string) string {
	v := ""
	for _, e := range env {
		if k, val, ok := strings.Cut(e, "="); ok && k == name {
			v = val
		}
	}
	return v
}
