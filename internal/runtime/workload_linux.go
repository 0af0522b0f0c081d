package runtime

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// newWorkload lays out what cfg describes. fds are the descriptors of which
// cfg has the indices. Whom it runs as is still to be said.
func newWorkload(cfg *processConfig, fds []int) (*workload, error) {
	if len(cfg.Args) == 0 || cfg.Args[0] == "" {
		return nil, errorf(agent.ClassInvalid, "there is no command to run")
	}
	w := &workload{
		terminal: -1, program: at(fds, cfg.Reaper), lastCap: lastCap(), noNewPrivs: cfg.NoNewPrivs,
		name: cfg.Args[0], named: strings.Contains(cfg.Args[0], "/"),
	}
	for i := range w.streams {
		w.streams[i] = at(fds, cfg.Stdio[i])
	}
	if cfg.Terminal {
		w.terminal = at(fds, cfg.Slave)
	}
	var err error
	if w.caps, err = capabilitySets(cfg.Caps); err != nil {
		return nil, err
	}
	if err := w.setFilter(cfg.Seccomp); err != nil {
		return nil, err
	}
	if err := w.setDirectory(cfg.Cwd); err != nil {
		return nil, err
	}
	if err := w.setProgram(cfg); err != nil {
		return nil, err
	}
	w.setLimits(cfg.Rlimits)
	return w, nil
}

// cstring lays out a string for the kernel.
func (w *workload) cstring(s string) (uintptr, error) {
	b, err := unix.ByteSliceFromString(s)
	if err != nil {
		return 0, errorf(agent.ClassInvalid, "%q contains a NUL byte", s)
	}
	return w.address(b), nil
}

// cstrings lays out an array that the kernel can read.
func (w *workload) cstrings(list []string) ([]uintptr, error) {
	array := make([]uintptr, 0, len(list)+2)
	for _, s := range list {
		p, err := w.cstring(s)
		if err != nil {
			return nil, err
		}
		array = append(array, p)
	}
	return array, nil
}

func (w *workload) setFilter(filter []byte) error {
	const insn = 8 // bytes of a struct sock_filter
	if len(filter) == 0 {
		return nil
	}
	if len(filter)%insn != 0 || len(filter)/insn > 4096 {
		return errorf(agent.ClassInvalid, "cannot load the seccomp program, which is not one")
	}
	w.filter.len, w.filter.first = uint16(len(filter)/insn), w.address(filter)
	return nil
}

func (w *workload) setDirectory(cwd string) (err error) {
	if cwd == "" {
		cwd = "/"
	}
	if !path.IsAbs(cwd) {
		return errorf(agent.ClassInvalid, "the working directory %q is not an absolute path", cwd)
	}
	w.directory = cwd
	if w.cwd, err = w.cstring(cwd); err != nil {
		return err
	}
	for i := range cwd {
		if i > 0 && cwd[i] == '/' {
			p, err := w.cstring(cwd[:i])
			if err != nil {
				return err
			}
			w.above = append(w.above, p)
		}
	}
	w.above = append(w.above, w.cwd)
	return nil
}

// setProgram lays out arguments, environment and where the program may be.
func (w *workload) setProgram(cfg *processConfig) (err error) {
	w.candidates = []string{w.name}
	if !w.named {
		w.candidates = nil
		for _, dir := range strings.Split(value(cfg.Env, "PATH"), ":") {
			if dir == "" {
				dir = "."
			}
			w.candidates = append(w.candidates, dir+"/"+w.name)
		}
	}
	if w.paths, err = w.cstrings(w.candidates); err != nil {
		return err
	}
	if w.envp, err = w.cstrings(cfg.Env); err != nil {
		return err
	}
	if value(cfg.Env, "HOME") == "" {
		w.envp = append(w.envp, w.homeEnv())
	}
	w.envp = append(w.envp, 0)
	args := cfg.Args
	if w.program >= 0 {
		// The reaper runs in front and starts the path that is found.
		args = append([]string{"abode-init", stageArg, stageReap, boolArg(cfg.Terminal), ""}, args...)
	}
	if w.argv, err = w.cstrings(args); err != nil {
		return err
	}
	w.argv = append(w.argv, 0)
	return nil
}

// reaperPath is the reaper's argument that names the workload's program.
const reaperPath = 4

// pointReaper tells the reaper what enter has found.
func (w *workload) pointReaper() {
	if w.program >= 0 {
		w.argv[reaperPath] = w.paths[w.found]
	}
}

func boolArg(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// identify sets whom the workload runs as.
func (i *identification) identify(who identity) error {
	groups := []uint32{uint32(who.Gid)}
	for _, g := range who.Groups {
		if !slices.Contains(groups, uint32(g)) {
			groups = append(groups, uint32(g))
		}
	}
	if len(groups) > maxGroups {
		return errorf(agent.ClassInvalid, "a user is in %d groups: %d are possible", len(groups), maxGroups)
	}
	if len(who.Home) > maxHome || strings.Contains(who.Home, "\x00") {
		return errorf(agent.ClassInvalid, "the user's home directory is no path")
	}
	i.uid, i.gid, i.ngroups = uint32(who.Uid), uint32(who.Gid), uint32(len(groups))
	copy(i.groups[:], groups)
	clear(i.home[copy(i.home[:], "HOME="+who.Home):])
	return nil
}

// failure puts what enter or execute returned into words.
func (w *workload) failure(step int64, e syscall.Errno) error {
	const within = "is it within the container's user namespace?"
	switch step, found := step%stepPath, step/stepPath; step {
	case stepTerminal:
		return fmt.Errorf("cannot make the terminal the controlling one: %w", e)
	case stepStreams:
		return fmt.Errorf("cannot connect the streams: %w", e)
	case stepBounding:
		return fmt.Errorf("cannot drop capabilities: %w", e)
	case stepGroups:
		return errorf(agent.ClassInvalid, "cannot take the groups %v: %w: are they within the container's user namespace?", w.id.groups[:w.id.ngroups], e)
	case stepMkdir:
		return errorf(agent.ClassInvalid, "cannot make the working directory %s: %w", w.directory, e)
	case stepChdir:
		return errorf(agent.ClassInvalid, "cannot change to the working directory %s: %w", w.directory, e)
	case stepGID:
		return errorf(agent.ClassInvalid, "cannot become group %d: %w: "+within, w.id.gid, e)
	case stepUID:
		return errorf(agent.ClassInvalid, "cannot become user %d: %w: "+within, w.id.uid, e)
	case stepFindDir:
		return errorf(agent.ClassNotExecutable, "exec: %q: is a directory: %w", w.name, e)
	case stepFind:
		return w.notFound(e)
	case stepSeccomp:
		return fmt.Errorf("cannot load the seccomp program: %w", e)
	case stepExecute:
		class := agent.ClassNotExecutable
		if e == unix.ENOENT || e == unix.ENOTDIR {
			class = agent.ClassNotFound // of a script's interpreter, or of the dynamic linker
		}
		return errorf(class, "exec %s: %w", w.candidates[found], e)
	default:
		return fmt.Errorf("cannot drop privileges (step %d): %w", step, e)
	}
}

// notFound has the words that Docker's clients look for.
func (w *workload) notFound(e syscall.Errno) error {
	missing := e == unix.ENOENT || e == unix.ENOTDIR
	switch {
	case w.named && missing:
		return errorf(agent.ClassNotFound, "exec: %q: stat %s: no such file or directory", w.name, w.name)
	case w.named:
		return errorf(agent.ClassNotExecutable, "exec: %q: %w", w.name, e)
	case missing:
		return errorf(agent.ClassNotFound, "exec: %q: executable file not found in $PATH", w.name)
	}
	return errorf(agent.ClassNotExecutable, "exec: %q: permission denied", w.name)
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

// gaps are all descriptors but one, the workload's and the standard streams.
func (w *workload) gaps(but int) []gap {
	used := []int{but, 2, w.terminal, w.program}
	used = append(used, w.streams[:]...)
	slices.Sort(used)
	var gaps []gap
	next := 3
	for _, fd := range used {
		if fd > next {
			gaps = append(gaps, gap{uintptr(next), uintptr(fd - 1)})
		}
		next = max(next, fd+1)
	}
	return append(gaps, gap{uintptr(next), 1<<32 - 1})
}
