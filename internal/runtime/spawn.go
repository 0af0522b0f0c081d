package runtime

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"strings"
	"sync"
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

// spawner starts processes of this program and of containers.
type spawner struct {
	program *os.File
	null    *os.File
	pids    *os.File // this process's own PID namespace

	mu   sync.Mutex
	idle []*forker
}

func newSpawner() (*spawner, error) {
	// See vfork. It also keeps what is forked out of the hands of who has the
	// privilege to trace in a container.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("cannot keep the agent's memory from containers: %w", err)
	}
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
	return &spawner{program: program, null: null, pids: pids}, nil
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
	pid, sync, err := s.fork(sp, c)
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

// fork forks c in the namespaces and the cgroup of sp, up to where it waits for
// another byte on sync. The process is a child of this one.
func (s *spawner) fork(sp spawn, c *child) (pid int, sync *os.File, err error) {
	c.pause = true
	l, err := lay(sp, c)
	if err != nil {
		return 0, nil, err
	}
	defer l.files.Clean()
	defer func() {
		if err != nil {
			l.sync.Close()
		}
	}()
	s.do(func(f *forker) {
		err = f.among(l.pids, func() error {
			var errno syscall.Errno
			if pid, errno = fork(c); errno != 0 {
				return fmt.Errorf("cannot clone a process: %w", errno)
			}
			return nil
		})
		unix.Close(l.theirs) // so that the child's end is heard
	})
	if err != nil {
		return 0, nil, err
	}
	if c.again {
		first := pid
		if pid, err = second(l.sync, first); err != nil {
			end(first)
			return 0, nil, err
		}
		reap(first)
	}
	if sp.settle != nil {
		if err = sp.settle(pid); err != nil {
			end(pid)
			return 0, nil, err
		}
	}
	return pid, l.sync, nil
}

// laid is what a child was given, and what stays here.
type laid struct {
	sync   *os.File      // this side's end
	theirs int           // the child's
	pids   int           // a process in whose PID namespace the child shall be; -1: this one's
	files  cleanup.Stack // open until the child has been cloned
}

// lay completes c with what sp says.
func lay(sp spawn, c *child) (*laid, error) {
	l := &laid{pids: -1}
	var cu cleanup.Stack
	defer cu.Clean()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make a socket pair: %w", err)
	}
	l.theirs = pair[1]
	_ = unix.SetNonblock(pair[0], true) // the poller waits, not a thread
	l.sync = os.NewFile(uintptr(pair[0]), "sync")
	cu.Add(func() { l.sync.Close(); unix.Close(l.theirs) })

	var empty [1]byte
	c.theirs, c.sync, c.empty = uintptr(pair[0]), uintptr(pair[1]), &empty[0]
	c.flags, c.setIDs, c.keepCaps = sp.flags, sp.setIDs, sp.keepCaps
	c.again = len(sp.joins) > 0 && sp.flags != 0
	for i, j := range sp.joins {
		c.joins[i].fd, c.joins[i].flags = uintptr(j.fd), uintptr(j.flags)
		c.njoins++
		if !c.again && j.flags&unix.CLONE_NEWPID != 0 {
			l.pids = j.fd // of a child that was there before, it would not count
			c.joins[i].flags &^= unix.CLONE_NEWPID
		}
	}
	if sp.cgroup != nil {
		files, err := sp.cgroup.entrance()
		l.files.Add(func() { closeFiles(files) })
		if err != nil {
			l.files.Clean()
			return nil, err
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
		c.gaps = c.work.gaps(l.theirs)
	}
	cu.Release()
	return l, nil
}

// end kills a child and reaps it.
func end(pid int) {
	unix.Kill(pid, unix.SIGKILL)
	reap(pid)
}

// second lets the first child clone the second, and returns that one's PID.
func second(sync *os.File, first int) (int, error) {
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

// stepError is nil for step 0.
func stepError(step, errno int64) error {
	if step == 0 {
		return nil
	}
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
