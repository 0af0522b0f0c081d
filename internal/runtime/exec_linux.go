package runtime

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// execMain becomes another process of a container, in whose namespaces this
// process has been since before it was executed.
func execMain(ctl *control) error {
	var cfg processConfig
	fds, err := ctl.receive(&cfg)
	if err != nil {
		return fmt.Errorf("cannot read the process's configuration: %w", err)
	}
	if _, err := unix.Setsid(); err != nil && err != unix.EPERM {
		return fmt.Errorf("cannot begin a session: %w", err)
	}
	unix.Umask(0o022)
	p := &program{processConfig: &cfg, fds: fds}
	if err := p.prepare(); err != nil {
		return err
	}
	if err := ctl.send(stageReply{UID: p.user.Uid, GID: p.user.Gid, Warnings: p.warnings}); err != nil {
		return err
	}
	waitStart(ctl)
	return p.exec()
}
