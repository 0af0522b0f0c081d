package share

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/share/wire"
)

// Source is what is shared under a tag.
type Source struct {
	Tag      string
	Path     string // absolute; a directory or a file
	ReadOnly bool
}

// validTag admits what is a file name without a dot in front.
func validTag(tag string) bool {
	const others = "_.-"
	for i, c := range []byte(tag) {
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alnum && (i == 0 || strings.IndexByte(others, c) < 0) {
			return false
		}
	}
	return tag != "" && len(tag) <= wire.MaxTag
}

// String is the form that --share takes.
func (s Source) String() string {
	v := s.Tag + "=" + s.Path
	if s.ReadOnly {
		v += readOnlySuffix
	}
	return v
}

const readOnlySuffix = ":ro"

// parseSource reads the form that String writes.
func parseSource(v string) (Source, error) {
	tag, path, ok := strings.Cut(v, "=")
	if !ok || !validTag(tag) {
		return Source{}, fmt.Errorf("cannot share %q: it must be TAG=PATH[:ro] with a tag of letters, digits and _.-", v)
	}
	path, ro := strings.CutSuffix(path, readOnlySuffix)
	if !filepath.IsAbs(path) {
		return Source{}, fmt.Errorf("cannot share %q: the path must be absolute", v)
	}
	return Source{Tag: tag, Path: filepath.Clean(path), ReadOnly: ro}, nil
}

// jailCommand is how the process calls itself inside its new namespaces.
const jailCommand = "share-jail"

// Main is the process `abode-agent share`: args are those after "share". It
// connects to the socket, starts itself again in new namespaces with the
// connection, and waits for that process, which dies with it. `abode-agent
// share-jail` has to call JailMain.
func Main(args []string) error {
	socket, sources, err := parseArgs("share", args)
	if err != nil {
		return err
	}
	if socket == "" {
		return errors.New("cannot share: say where the hypervisor listens with --socket")
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return fmt.Errorf("cannot reach the guest: %w", err)
	}
	file, err := conn.(*net.UnixConn).File()
	_ = conn.Close()
	if err != nil {
		return fmt.Errorf("cannot reach the guest: %w", err)
	}
	defer func() { _ = file.Close() }()
	cmd, err := jailed(file, sources)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	defer signal.Stop(signals)
	runtime.LockOSThread() // PDEATHSIG is sent when the thread that forked ends
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start the share's jail: %w", err)
	}
	_ = file.Close()
	go func() {
		for range signals {
			_ = cmd.Process.Kill() // it holds nothing that is not the kernel's
		}
	}()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("cannot go on sharing: %w", err)
	}
	return nil
}

// jailed prepares the process that serves, with conn as its descriptor 3.
func jailed(conn *os.File, sources []Source) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find this program: %w", err)
	}
	cmd := exec.Command(self, jailCommand)
	for _, s := range sources {
		cmd.Args = append(cmd.Args, "--share", s.String())
	}
	// Go would keep files of the host's cgroups open, to follow its CPU limit.
	cmd.Env = []string{"GODEBUG=containermaxprocs=0,updatemaxprocs=0"}
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{conn}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	}
	return cmd, nil
}

// JailMain is the process `abode-agent share-jail`, which Main starts. It makes
// its jail before it reads a byte of the guest's.
func JailMain(args []string) error {
	_, sources, err := parseArgs(jailCommand, args)
	if err != nil {
		return err
	}
	if os.Getpid() != 1 {
		return errors.New("cannot make a jail: this command is for `abode-agent share` alone")
	}
	// The parent's death closes nothing that this process waits for.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("cannot tie the jail to its parent: %w", err)
	}
	file := os.NewFile(3, "connection")
	conn, err := net.FileConn(file)
	_ = file.Close()
	if err != nil {
		return fmt.Errorf("cannot take over the connection: %w", err)
	}
	j, err := enterJail(sources)
	if err != nil {
		_ = conn.Close()
		return fmt.Errorf("cannot make the share's jail: %w", err)
	}
	return serve(conn, j)
}

func parseArgs(name string, args []string) (socket string, sources []Source, err error) {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.StringVar(&socket, "socket", "", "the hypervisor's `socket` for the port")
	seen := map[string]bool{}
	set.Func("share", "`TAG=PATH[:ro]` to share", func(v string) error {
		s, err := parseSource(v)
		if err == nil && seen[s.Tag] {
			err = fmt.Errorf("cannot share %q twice", s.Tag)
		}
		seen[s.Tag] = true
		sources = append(sources, s)
		return err
	})
	if err := set.Parse(args); err != nil {
		return "", nil, err
	}
	if len(sources) == 0 || set.NArg() > 0 {
		return "", nil, errors.New("cannot share: name what with --share TAG=PATH[:ro]")
	}
	return socket, sources, nil
}
