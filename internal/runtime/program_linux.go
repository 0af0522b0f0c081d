package runtime

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// program turns a stage, which stands in the container already, into the workload.
type program struct {
	*processConfig
	fds []int
	w   *workload
}

// prepare does all that can fail for reasons of the caller's.
func (p *program) prepare() (err error) {
	if p.w, err = newWorkload(p.processConfig, p.fds); err != nil {
		return err
	}
	passwd, err := readDatabase(passwdFile)
	if err != nil {
		return err
	}
	group, err := readDatabase(groupFile)
	if err != nil {
		return err
	}
	who, err := lookupUser(p.User, p.Groups, passwd, group)
	if err != nil {
		return err
	}
	if err := p.w.id.identify(who); err != nil {
		return err
	}
	if p.Terminal {
		p.terminal(who.Uid)
	}
	if step, e := p.w.enter(); e != 0 {
		return p.w.failure(step, e)
	}
	p.w.pointReaper()
	return nil
}

// terminal gives the terminal to the workload's user.
func (p *program) terminal(uid int) {
	if err := unix.Fchown(p.w.terminal, uid, -1); err != nil && uid != 0 {
		p.w.warnings = append(p.w.warnings, fmt.Sprintf("the terminal does not belong to user %d: %v", uid, err))
	}
	if p.Width > 0 && p.Height > 0 {
		if err := setSize(p.w.terminal, p.Width, p.Height); err != nil {
			p.w.warnings = append(p.w.warnings, fmt.Sprintf("the terminal keeps its size: %v", err))
		}
	}
}

// warnings tell what went otherwise than it was wanted.
func (p *program) warnings() []string { return append(p.w.warnings, p.w.lowered()...) }

// exec becomes the workload. It returns only errors.
func (p *program) exec() error { return p.w.failure(p.w.execute()) }
