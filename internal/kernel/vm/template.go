package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"
)

// A template is a guest that waits for work, as two sealed anonymous files:
// its memory and the state of its devices. Nobody can change them any more,
// so any number of hypervisors that do not trust each other can map the memory
// privately. (QEMU 7.2 opens the file for writing even when it maps it
// privately; a file on disk would have to be writable for every guest.)
//
// On disk a template is ROOT/templates/KEY/{memory,state,meta.json}; the
// memory is sparse. A template is in the daemon's memory while it is used and
// for templateIdle after that.
type template struct {
	memory, state *os.File
}

// templateIdle is how long a template that nobody starts from stays in memory.
const templateIdle = 10 * time.Minute

// templateMeta tells a whole template from a torn one.
type templateMeta struct {
	Key        string
	Kernel     string // for people
	Size       int64  // of the memory, bytes
	Used       int64  // bytes of it that are not zero
	MemorySum  uint64 // xxhash of offset and content of each stretch that is not zero
	StateSum   uint64
	StateBytes int64
}

var errBroken = errors.New("the template is broken")

// templates keeps what is in memory and lets one build happen for each key.
type templates struct {
	mu     sync.Mutex
	loaded map[string]*template
	timers map[string]*time.Timer
	locks  map[string]*sync.Mutex
	failed map[string]int // resumptions that failed, by key
}

func (t *templates) init() {
	t.loaded, t.timers = map[string]*template{}, map[string]*time.Timer{}
	t.locks, t.failed = map[string]*sync.Mutex{}, map[string]int{}
}

// lock holds a key within this process.
func (t *templates) lock(key string) func() {
	t.mu.Lock()
	l := t.locks[key]
	if l == nil {
		l = new(sync.Mutex)
		t.locks[key] = l
	}
	t.mu.Unlock()
	l.Lock()
	return l.Unlock
}

// dup returns files of its own for a caller, who closes them.
func (t *templates) dup(key string) (*template, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tpl := t.loaded[key]
	if tpl == nil {
		return nil, nil
	}
	t.timers[key].Reset(templateIdle)
	memory, err := reopen(tpl.memory, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	state, err := reopen(tpl.state, os.O_RDONLY)
	if err != nil {
		memory.Close()
		return nil, err
	}
	return &template{memory, state}, nil
}

// keep takes tpl over.
func (t *templates) keep(key string, tpl *template) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.loaded[key] = tpl
	t.timers[key] = time.AfterFunc(templateIdle, func() { t.drop(key) })
}

// drop forgets what is in memory; guests that use it are not disturbed.
func (t *templates) drop(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tpl := t.loaded[key]; tpl != nil {
		tpl.close()
		t.timers[key].Stop()
		delete(t.loaded, key)
		delete(t.timers, key)
	}
}

func (t *template) close() {
	t.memory.Close()
	t.state.Close()
}

// template returns the shape's template, from memory, from disk, or made now.
// The caller closes it.
func (p *Provider) template(ctx context.Context, s shape) (*template, error) {
	key := s.key
	if tpl, err := p.templates.dup(key); tpl != nil || err != nil {
		return tpl, err
	}
	defer p.templates.lock(key)()
	if tpl, err := p.templates.dup(key); tpl != nil || err != nil {
		return tpl, err // somebody else was faster
	}
	dir := filepath.Join(p.cfg.Root, "templates")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot keep templates: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Join(dir, "."+key+".lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	tpl, err := loadTemplate(filepath.Join(dir, key), key)
	if err != nil {
		if errors.Is(err, errBroken) || !errors.Is(err, fs.ErrNotExist) {
			p.log.Warn("a VM template is broken and will be made anew", "key", key, "err", err)
		}
		os.RemoveAll(filepath.Join(dir, key))
		if tpl, err = p.buildTemplate(ctx, s, dir, key); err != nil {
			return nil, err
		}
		pruneTemplates(dir, p.cfg.Templates)
	}
	now := time.Now()
	_ = os.Chtimes(filepath.Join(dir, key), now, now) // for pruneTemplates
	p.templates.keep(key, tpl)
	return p.templates.dup(key)
}

// discardTemplate throws a template away with which a guest did not start.
func (p *Provider) discardTemplate(s shape) {
	key := s.key
	defer p.templates.lock(key)()
	p.templates.drop(key)
	os.RemoveAll(filepath.Join(p.cfg.Root, "templates", key))
	p.templates.mu.Lock()
	p.templates.failed[key]++
	p.templates.mu.Unlock()
}

// templateFails says that this shape's templates do not work on this machine.
func (p *Provider) templateFails(s shape) bool {
	p.templates.mu.Lock()
	defer p.templates.mu.Unlock()
	return p.templates.failed[s.key] >= 3
}

// lockFile holds a lock among processes.
func lockFile(ctx context.Context, path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock a template: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			f.Close()
			return nil, fmt.Errorf("cannot lock a template: %w", err)
		}
		select { // another engine makes it
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("cannot wait for a template that another engine makes: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// loadTemplate reads a template into memory and checks every byte.
func loadTemplate(dir, key string) (*template, error) {
	b, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err != nil {
		return nil, err
	}
	var meta templateMeta
	if err := json.Unmarshal(b, &meta); err != nil {
		return nil, fmt.Errorf("%w: its description cannot be read: %w", errBroken, err)
	}
	if meta.Key != key || meta.Size <= 0 || meta.StateBytes <= 0 {
		return nil, fmt.Errorf("%w: its description does not fit", errBroken)
	}
	src, err := os.Open(filepath.Join(dir, "memory"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	defer src.Close()
	memory, err := newMemory("template-memory", meta.Size)
	if err != nil {
		return nil, err
	}
	sum, _, err := copyPages(memory, src)
	if err != nil {
		memory.Close()
		return nil, fmt.Errorf("%w: its memory cannot be read: %w", errBroken, err)
	}
	if sum != meta.MemorySum {
		memory.Close()
		return nil, fmt.Errorf("%w: its memory is not what was saved", errBroken)
	}
	state, err := newMemory("template-state", 0)
	if err != nil {
		memory.Close()
		return nil, err
	}
	tpl := &template{memory, state}
	b, err = os.ReadFile(filepath.Join(dir, "state"))
	if err != nil {
		tpl.close()
		return nil, fmt.Errorf("%w: its state cannot be read: %w", errBroken, err)
	}
	if int64(len(b)) != meta.StateBytes || xxhash.Sum64(b) != meta.StateSum {
		tpl.close()
		return nil, fmt.Errorf("%w: its state is not what was saved", errBroken)
	}
	if _, err := state.Write(b); err != nil {
		tpl.close()
		return nil, fmt.Errorf("cannot load a template: %w", err)
	}
	if err := errors.Join(readOnly(memory), readOnly(state)); err != nil {
		tpl.close()
		return nil, err
	}
	return tpl, nil
}

// writeTemplate publishes a template, whole or not at all.
func writeTemplate(dir, key, kernel string, tpl *template) error {
	tmp, err := os.MkdirTemp(dir, ".tmp-")
	if err != nil {
		return fmt.Errorf("cannot save a template: %w", err)
	}
	defer os.RemoveAll(tmp)
	fi, err := tpl.memory.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(tmp, "memory"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot save a template: %w", err)
	}
	defer out.Close()
	if err := out.Truncate(fi.Size()); err != nil {
		return fmt.Errorf("cannot save a template: %w", err)
	}
	sum, used, err := copyPages(out, tpl.memory)
	if err != nil {
		return fmt.Errorf("cannot save a template: %w", err)
	}
	state, err := io.ReadAll(io.NewSectionReader(tpl.state, 0, 64<<20))
	if err != nil {
		return fmt.Errorf("cannot save a template: %w", err)
	}
	meta := templateMeta{Key: key, Kernel: kernel, Size: fi.Size(), Used: used, MemorySum: sum, StateSum: xxhash.Sum64(state), StateBytes: int64(len(state))}
	b, err := json.MarshalIndent(meta, "", "\t")
	if err == nil {
		err = errors.Join(out.Close(), os.WriteFile(filepath.Join(tmp, "state"), state, 0o600), os.WriteFile(filepath.Join(tmp, "meta.json"), b, 0o600))
	}
	if err != nil {
		return fmt.Errorf("cannot save a template: %w", err)
	}
	final := filepath.Join(dir, key)
	os.RemoveAll(final)
	if err := os.Rename(tmp, final); err != nil {
		return fmt.Errorf("cannot save a template: %w", err)
	}
	return nil
}
