package runtime

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/cleanup"
)

// A join is a namespace, or with a process's pidfd several, that a child enters.
type join struct {
	fd    int
	flags int
}

// spawn describes a stage: this program, executed in other namespaces.
type spawn struct {
	stage  string
	flags  uintptr // namespaces to make
	joins  []join  // namespaces to enter before
	setIDs bool    // become root of the user namespace
	// keepCaps keeps the capabilities in a user namespace whose root is not
	// mapped yet across execve.
	keepCaps bool
	cgroup   *cgroup // in which it is from the first
	// settle is called with the PID of the one that will execute, before it
	// does: user namespace maps.
	settle func(pid int) error
}

// spawner forks from one thread that lives as long as the process: the death
// of a thread is what PR_SET_PDEATHSIG reports.
type spawner struct {
	requests chan func()
	program  *os.File
	null     *os.File
	pids     *os.File // this process's own PID namespace
	away     bool     // the thread's children would be in another one
}

func newSpawner() (*spawner, error) {
	program, err := sealedSelf()
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", os.DevNull, err)
	}
	pids, err := os.Open("/proc/self/ns/pid")
	if err != nil {
		return nil, fmt.Errorf("cannot open the PID namespace: %w", err)
	}
	s := &spawner{requests: make(chan func()), program: program, null: null, pids: pids}
	go func() {
		// Never unlocked. The runtime makes no threads from a locked one, and
		// this could not while its children belong to another PID namespace.
		goruntime.LockOSThread()
		for f := range s.requests {
			f()
		}
	}()
	return s, nil
}

// start starts a stage whose control socket is its descriptor 3. The process
// is a child of this one; the caller reaps it.
func (s *spawner) start(sp spawn) (int, *control, error) {
	var cu cleanup.Stack
	defer cu.Clean()
	ctl, theirs, err := controlPair()
	if err != nil {
		return 0, nil, err
	}
	defer unix.Close(theirs)
	cu.Add(func() { ctl.Close() })
	argv, keepArgs := cstrings([]string{"abode-" + sp.stage, stageArg, sp.stage})
	envp, keepEnv := cstrings([]string{"GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1"})
	defer goruntime.KeepAlive(keepArgs)
	defer goruntime.KeepAlive(keepEnv)
	c := &child{program: s.program.Fd(), argv: argv, envp: envp}
	// Numbers above those that they become, so that none is overwritten.
	high, err := unix.FcntlInt(uintptr(theirs), unix.F_DUPFD_CLOEXEC, 16)
	if err != nil {
		return 0, nil, fmt.Errorf("cannot duplicate the control socket: %w", err)
	}
	defer unix.Close(high)
	highNull, err := unix.FcntlInt(s.null.Fd(), unix.F_DUPFD_CLOEXEC, 16)
	if err != nil {
		return 0, nil, fmt.Errorf("cannot duplicate %s: %w", os.DevNull, err)
	}
	defer unix.Close(highNull)
	n := uintptr(highNull)
	c.fds = [maxFDs]uintptr{n, n, n, uintptr(high)}
	c.nfds = 4
	pid, sync, err := s.clone(sp, c)
	if err != nil {
		return 0, nil, err
	}
	defer sync.Close()
	cu.Add(func() { end(pid) })
	if err := executed(sync); err != nil {
		return 0, nil, err
	}
	cu.Release()
	return pid, ctl, nil
}

// clone forks c in the namespaces and the cgroup of sp, up to where it waits
// for another byte on sync. The process is a child of this one.
func (s *spawner) clone(sp spawn, c *child) (pid int, sync *os.File, err error) {
	var cu cleanup.Stack
	defer cu.Clean()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, fmt.Errorf("cannot make a socket pair: %w", err)
	}
	_ = unix.SetNonblock(pair[0], true) // the poller waits, not a thread
	sync = os.NewFile(uintptr(pair[0]), "sync")
	cu.Add(func() { sync.Close() })
	theirs := pair[1]
	defer func() { closeAll([]int{theirs}) }()

	var empty [1]byte
	c.theirs, c.sync, c.empty = uintptr(pair[0]), uintptr(pair[1]), &empty[0]
	c.flags, c.setIDs, c.keepCaps = sp.flags, sp.setIDs, sp.keepCaps
	c.again = len(sp.joins) > 0 && sp.flags != 0
	pids := -1
	for i, j := range sp.joins {
		c.joins[i].fd, c.joins[i].flags = uintptr(j.fd), uintptr(j.flags)
		c.njoins++
		if !c.again && j.flags&unix.CLONE_NEWPID != 0 {
			pids = j.fd // of a child that was there before, it would not count
			c.joins[i].flags &^= unix.CLONE_NEWPID
		}
	}
	if sp.cgroup != nil {
		files, err := sp.cgroup.entrance()
		defer closeFiles(files)
		if err != nil {
			return 0, nil, err
		}
		if c.begin = sp.cgroup.h.v2 != ""; c.begin {
			c.into[10] = uint64(files[0].Fd())
		} else {
			for i, f := range files {
				c.tasks[i] = f.Fd()
			}
			c.ntasks, c.zero = len(files), '0'
		}
	}
	if c.work != nil {
		c.gaps = c.work.gaps(theirs)
	}
	done := make(chan struct{})
	s.requests <- func() {
		defer close(done)
		err = s.among(pids, func() error {
			var errno syscall.Errno
			if pid, errno = fork(c); errno != 0 {
				return fmt.Errorf("cannot clone a process: %w", errno)
			}
			return nil
		})
	}
	<-done
	if err != nil {
		return 0, nil, err
	}
	unix.Close(theirs) // so that the child's end is heard
	theirs = -1
	if c.again {
		first := pid
		pid, err = s.second(sync, first)
		if err != nil {
			end(first)
			return 0, nil, err
		}
		reap(first)
	}
	if sp.settle != nil {
		if err := sp.settle(pid); err != nil {
			end(pid)
			return 0, nil, err
		}
	}
	cu.Release()
	return pid, sync, nil
}

// among calls f while children belong to the PID namespace of the process
// whose pidfd is pids; -1: this process's own.
func (s *spawner) among(pids int, f func() error) error {
	own := func() error {
		if !s.away {
			return nil
		}
		if err := unix.Setns(int(s.pids.Fd()), unix.CLONE_NEWPID); err != nil {
			return fmt.Errorf("cannot return to the agent's PID namespace: %w", err)
		}
		s.away = false
		return nil
	}
	if err := own(); err != nil {
		return err
	}
	if pids >= 0 {
		if err := unix.Setns(pids, unix.CLONE_NEWPID); err != nil {
			return fmt.Errorf("cannot enter the PID namespace: %w", err)
		}
		s.away = true
	}
	err := f()
	_ = own() // else the next tells
	return err
}

// end kills a child and reaps it.
func end(pid int) {
	unix.Kill(pid, unix.SIGKILL)
	reap(pid)
}

// second lets the first child clone the second, and returns that one's PID.
func (s *spawner) second(sync *os.File, first int) (int, error) {
	if _, err := sync.Write([]byte{1}); err != nil {
		return 0, fmt.Errorf("cannot go on with process %d: %w", first, err)
	}
	step, value, err := readWord(sync)
	if err != nil {
		return 0, fmt.Errorf("process %d ended while it entered namespaces: %w", first, err)
	}
	if step != 0 {
		return 0, stepError(step, value)
	}
	return int(value), nil
}

// executed lets the child go on and returns once execve has succeeded.
func executed(sync *os.File) error {
	if _, err := sync.Write([]byte{1}); err != nil {
		return fmt.Errorf("cannot let a process go on: %w", err)
	}
	step, value, err := readWord(sync)
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot hear of a process: %w", err)
	}
	return stepError(step, value)
}

func readWord(r io.Reader) (step, value int64, err error) {
	var b [16]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, 0, err
	}
	return int64(binary.NativeEndian.Uint64(b[:])), int64(binary.NativeEndian.Uint64(b[8:])), nil
}

func stepError(step, errno int64) error {
	what := map[int64]string{
		stepSync: "start a process", stepJoin: "enter the namespaces", stepClone: "clone into the namespaces",
		stepIDs: "become root of the user namespace", stepCaps: "keep the capabilities", stepCgroup: "enter the cgroup", stepFDs: "hand over descriptors", stepExecve: "execute a stage of the agent",
		stepUsers: "hear of the users",
	}[step]
	return fmt.Errorf("cannot %s: %w", what, syscall.Errno(errno))
}

// reap waits for a child that is ending.
func reap(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED, nil) == unix.EINTR {
	}
}

// procPath names a file of another process.
func procPath(pid int, elem ...string) string {
	return fmt.Sprintf("/proc/%d/%s", pid, strings.Join(elem, "/"))
}
