package runtime

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// initMain makes the container from inside its namespaces and becomes its workload.
func initMain(ctl *control) error {
	b := &builder{ctl: ctl}
	cfg, fds, err := b.steps()
	if err != nil {
		return err
	}
	if err := b.build(cfg, fds); err != nil {
		return err
	}
	sent := []int{b.devpts}
	if cfg.Terminal {
		master, slave, err := openTerminal(b.devpts)
		if err != nil {
			return err
		}
		if err := b.console(slave); err != nil {
			return err
		}
		sent = append(sent, master)
		cfg.Slave = len(fds)
		fds = append(fds, slave)
	}
	if err := b.enter(); err != nil {
		return err
	}
	closeAll(b.spent())
	unix.Umask(0o022)
	p := &program{processConfig: &cfg.processConfig, fds: fds}
	if err := p.prepare(); err != nil {
		return err
	}
	if err := ctl.send(stageReply{UID: int(p.w.id.uid), GID: int(p.w.id.gid), Made: b.made, Warnings: append(b.warnings, p.warnings()...)}, sent...); err != nil {
		return err
	}
	closeAll(sent)
	waitStart(ctl)
	return p.exec()
}

// steps does what comes before the container is known, in the order in which it
// is told, and returns what the container is.
func (b *builder) steps() (*initConfig, []int, error) {
	for {
		var step stageStep
		fds, err := b.ctl.receive(&step)
		switch {
		case err != nil:
			err = fmt.Errorf("cannot read the container's configuration: %w", err)
		case step.Namespaces != nil:
			err = setUpNamespaces(step.Namespaces)
		case step.Names != nil:
			err = setUpNames(step.Names)
		case step.Foundation != nil:
			if err = b.lay(step.Foundation, fds); err == nil && step.Foundation.Up != "" {
				err = b.ctl.send(stageReply{})
			}
		case step.Init != nil:
			return step.Init, fds, nil
		}
		if err != nil {
			return nil, nil, err
		}
	}
}

// setUpNamespaces makes this process the root of its namespaces.
func setUpNamespaces(step *namespaceStep) error {
	if step.UserNS {
		if err := becomeRoot(); err != nil {
			return err
		}
	}
	unix.Umask(0)
	if _, err := unix.Setsid(); err != nil && err != unix.EPERM {
		return fmt.Errorf("cannot begin a session: %w", err)
	}
	if step.NewCgroup {
		// Only now is this process in the cgroups that shall look like the root.
		if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
			return fmt.Errorf("cannot make a cgroup namespace: %w", err)
		}
	}
	if step.NewNet {
		return setUpLoopback()
	}
	return nil
}

func setUpNames(step *nameStep) error {
	if step.NewUTS {
		if err := setNames(step.Hostname, step.Domain); err != nil {
			return err
		}
	}
	if len(step.Links) == 0 {
		return nil
	}
	return setUpLinks(step.Links)
}

// becomeRoot makes the capabilities in the user namespace, whose users are
// mapped by now, root's. Only this thread's, which executes the workload.
func becomeRoot() error {
	// SAFETY: see becomeUser.
	for _, call := range []uintptr{unix.SYS_SETGROUPS, unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
		if _, _, e := unix.RawSyscall(call, 0, 0, 0); e != 0 {
			return fmt.Errorf("cannot become root of the user namespace: %w", e)
		}
	}
	if _, _, e := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0); e != 0 {
		return fmt.Errorf("cannot drop ambient capabilities: %w", e)
	}
	return pdeathsig() // which the change of user has cleared
}

func setNames(host, domain string) error {
	if host != "" {
		if err := unix.Sethostname([]byte(host)); err != nil {
			return fmt.Errorf("cannot set the host name %q: %w", host, err)
		}
	}
	if domain != "" {
		if err := unix.Setdomainname([]byte(domain)); err != nil {
			return fmt.Errorf("cannot set the domain name %q: %w", domain, err)
		}
	}
	return nil
}

// writeSysctls sets kernel parameters through the container's own /proc.
func writeSysctls(proc int, sysctls map[string]string) error {
	for key, value := range sysctls {
		// Dots separate, except that a slash in the name stands for a dot in a part (sysctl(8)).
		p := strings.NewReplacer(".", "/", "/", ".").Replace(key)
		fd, err := unix.Openat2(proc, "sys/"+p, &unix.OpenHow{
			Flags:   unix.O_WRONLY | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
		})
		if err != nil {
			return errorf(agent.ClassInvalid, "cannot set sysctl %s: %w", key, err)
		}
		_, err = unix.Write(fd, []byte(value))
		unix.Close(fd)
		if err != nil {
			return errorf(agent.ClassInvalid, "cannot set sysctl %s=%s: %w", key, value, err)
		}
	}
	return nil
}
