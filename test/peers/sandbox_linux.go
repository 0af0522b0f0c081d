package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Everything runs in namespaces of this run's own. Whatever a contestant makes
// (processes, mounts, links, firewall rules, files below /run) is gone when the
// first process of the PID namespace ends, however that came about; only the
// folder and the cgroups are left to remove. It also keeps what already runs on
// the machine, a docker daemon above all, out of the measurement.

// firstProcess is the argument of the namespaces' first process.
const firstProcess = "first-process"

// The namespaces' first process learns by these what to do.
const (
	envArgs = "ABODE_BENCH_ARGS"
	envDir  = "ABODE_BENCH_DIR"
)

// dirPrefix begins the names of runs' folders.
const dirPrefix = "abode-bench-"

// cgroupName names the cgroups of a run's peers in each hierarchy, and
// bridgeName its engine's, which are called as the bridge.
func cgroupName(dir string) string { return filepath.Base(dir) }

func bridgeName(dir string) string {
	id := strings.TrimPrefix(filepath.Base(dir), dirPrefix)
	return "abb" + id[max(0, len(id)-8):]
}

// outside runs the benchmark in a sandbox and cleans up behind it.
func outside(args []string) error {
	if os.Getuid() != 0 {
		return errors.New("the benchmark needs root: sudo make bench")
	}
	sweep()
	dir, err := os.MkdirTemp("", dirPrefix)
	if err != nil {
		return err
	}
	defer clean(dir)
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	// Hypervisors run as users of their own and reach their files through here.
	if err := os.Chmod(dir, 0o711); err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	runtime.LockOSThread() // Pdeathsig is for the thread's end
	cmd := exec.Command("/proc/self/exe", firstProcess)
	cmd.Env = append(os.Environ(), envArgs+"="+strings.Join(args, "\x1f"), envDir+"="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Setpgid:    true, // Ctrl-C comes once, from here
		Pdeathsig:  unix.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot make the sandbox: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for polite := true; ; polite = false {
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return errors.New("the run failed or was interrupted; nothing is left of it")
			}
			return err
		case <-signals:
			if polite {
				fmt.Fprintln(os.Stderr, "\nending; once more to end at once")
				_ = cmd.Process.Signal(unix.SIGTERM)
			} else {
				_ = cmd.Process.Kill()
			}
		}
	}
}

// beFirst is the first process of the sandbox: it sets it up, starts the
// benchmark, reaps what nobody else does, and ends with it.
func beFirst() int {
	if err := furnish(); err != nil {
		fmt.Fprintln(os.Stderr, "abode-bench: cannot furnish the sandbox:", err)
		return 1
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, unix.SIGTERM)
	args := []string{os.Args[0]}
	if a := os.Getenv(envArgs); a != "" {
		args = append(args, strings.Split(a, "\x1f")...)
	}
	args = append(args, "--inside", os.Getenv(envDir))
	bench, err := os.StartProcess("/proc/self/exe", args, &os.ProcAttr{Env: os.Environ(), Files: []*os.File{nil, os.Stdout, os.Stderr}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "abode-bench:", err)
		return 1
	}
	go func() {
		for range signals {
			_ = bench.Signal(unix.SIGTERM)
		}
	}()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if err == nil && pid == bench.Pid {
			return status.ExitStatus()
		}
	}
}

// furnish gives the sandbox a /proc, a /sys and a /run that fit its namespaces,
// and a loopback.
func furnish() error {
	cgroups := filepath.Join(os.Getenv(envDir), "cgroup")
	if err := os.Mkdir(cgroups, 0o700); err != nil {
		return err
	}
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", unix.MS_PRIVATE | unix.MS_REC},
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"/sys/fs/cgroup", cgroups, "", unix.MS_BIND | unix.MS_REC},
		{"sysfs", "/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{cgroups, "/sys/fs/cgroup", "", unix.MS_BIND | unix.MS_REC},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount on %s: %w", m.target, err)
		}
	}
	if err := unix.Unmount(cgroups, unix.MNT_DETACH); err != nil {
		return err
	}
	if err := exec.Command("ip", "link", "set", "lo", "up").Run(); err != nil {
		return fmt.Errorf("ip link set lo up: %w", err)
	}
	return nil
}

// inside measures, in the sandbox, until it is done or told to end.
func inside(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	return measure(ctx, o)
}
