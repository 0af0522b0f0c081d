package fs

// losing is called before a name goes away: the file that has it, if the guest
// knows it, is kept open, because it may be found by no other name.
func (t *nodes) losing(dir *node, name string) {
	fd, err := openPath(dir.fd, name)
	if err != nil {
		return
	}
	st, err := stat(fd)
	if err != nil {
		closeFD(fd)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byKey[keyOf(&st)]
	if n == nil || n.id == rootID {
		closeFD(fd)
		return
	}
	if n.fd < 0 {
		n.fd = fd
		t.open++
	} else {
		closeFD(fd)
	}
	n.sticky = true
	if n.idle != nil {
		t.idle.Remove(n.idle)
		n.idle = nil
	}
}

// moved is called after a file got another name.
func (t *nodes) moved(to *node, name string) {
	fd, err := openPath(to.fd, name)
	if err != nil {
		return
	}
	defer closeFD(fd)
	st, err := stat(fd)
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.byKey[keyOf(&st)]; n != nil && n.id != rootID {
		n.parent, n.name = to, name
	}
}
