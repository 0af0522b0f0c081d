package kernels

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// What a kernel may be at most. Distributions' have 1,300 to 7,000 modules,
// 90 to 700 MB of them.
const (
	maxImage   = 256 << 20
	maxModule  = 128 << 20
	maxTotal   = 4 << 30
	maxModules = 20000
	maxEntries = 200000 // of any kind, in an archive
)

var (
	moduleRE = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9_+-]{0,127})\.ko(\.xz|\.zst|\.gz)?$`)
	imageRE  = regexp.MustCompile(`^(vmlinuz|bzImage|vmlinuz-[A-Za-z0-9._+-]{1,127})$`)
)

// A draft is a kernel on its way into the store. What it is offered is
// hostile: it takes a vmlinuz and modules by their base names, which it
// checks, and writes nowhere but below its own directory.
type draft struct {
	dir     string
	total   int64
	modules int
	image   bool
	sums    [2][sha256.Size]byte // of the vmlinuz; of the modules, in whatever order they come
}

func (s *Store) newDraft() (*draft, error) {
	dir, err := os.MkdirTemp(s.dir, ".tmp-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a kernel's directory: %w", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "modules"), 0o700); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("cannot make a kernel's directory: %w", err)
	}
	return &draft{dir: dir}, nil
}

// offer takes the regular file called name if it is part of a kernel.
func (d *draft) offer(name string, r io.Reader) error {
	base := path.Base(path.Clean("/" + name))
	if m := moduleRE.FindStringSubmatch(base); m != nil {
		if d.modules++; d.modules > maxModules {
			return fmt.Errorf("more than %d modules: %w", maxModules, errdefs.ErrInvalidArgument)
		}
		plain, err := Decompress(m[2], r)
		if err != nil {
			return fmt.Errorf("cannot decompress %s: %w", base, err)
		}
		return d.write("modules/"+m[1]+".ko", plain, maxModule)
	}
	if imageRE.MatchString(base) {
		if d.image {
			return fmt.Errorf("there is more than one vmlinuz: %w", errdefs.ErrInvalidArgument)
		}
		d.image = true
		return d.write("vmlinuz", r, maxImage)
	}
	return nil
}

// Decompress returns the plain bytes of a module whose file name ends in ext.
// Reading them is bounded by the caller. An xz stream may ask for a dictionary
// of up to 4 GiB; memory is only touched as far as data is written to it.
func Decompress(ext string, r io.Reader) (io.Reader, error) {
	switch ext {
	case ".xz":
		return xz.NewReader(r)
	case ".gz":
		return gzip.NewReader(r)
	case ".zst":
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxModule))
		if err != nil {
			return nil, err
		}
		return d, nil
	}
	return r, nil
}

func (d *draft) write(name string, r io.Reader, limit int64) error {
	f, err := os.OpenFile(filepath.Join(d.dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there twice: %w", path.Base(name), errdefs.ErrInvalidArgument)
	} else if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(r, min(limit, maxTotal-d.total)+1))
	d.total += n
	if err != nil {
		return fmt.Errorf("cannot extract %s: %w", path.Base(name), err)
	}
	if n > limit || d.total > maxTotal {
		return fmt.Errorf("%s is too large for a part of a kernel: %w", path.Base(name), errdefs.ErrInvalidArgument)
	}
	if name == "vmlinuz" {
		h.Sum(d.sums[0][:0])
		return f.Close()
	}
	h.Write([]byte(name))
	for i, b := range h.Sum(nil) {
		d.sums[1][i] ^= b
	}
	return f.Close()
}

// publish checks the draft and moves it into the store; name "" takes the
// release's. An existing kernel of that name is not replaced.
func (s *Store) publish(d *draft, name, source string) (Kernel, error) {
	if !d.image {
		return Kernel{}, fmt.Errorf("there is no vmlinuz in %s: %w", source, errdefs.ErrInvalidArgument)
	}
	release, err := imageRelease(filepath.Join(d.dir, "vmlinuz"))
	if err != nil {
		return Kernel{}, fmt.Errorf("cannot use the vmlinuz of %s: %w", source, err)
	}
	if d.modules == 0 {
		return Kernel{}, fmt.Errorf("there are no modules in %s: %w", source, errdefs.ErrInvalidArgument)
	}
	if name == "" {
		name = release
	}
	if !nameRE.MatchString(name) || name == HostName || name == "default" {
		return Kernel{}, fmt.Errorf("%q cannot be a kernel's name: %w", name, errdefs.ErrInvalidArgument)
	}
	sum := sha256.Sum256(append(d.sums[0][:], d.sums[1][:]...))
	k := Kernel{Name: name, Release: release, Source: source, Added: time.Now().UTC(), Size: d.total, SHA256: hex.EncodeToString(sum[:])}
	b, err := json.MarshalIndent(k, "", "\t")
	if err != nil {
		return Kernel{}, err
	}
	if err := os.WriteFile(filepath.Join(d.dir, "meta.json"), append(b, '\n'), 0o600); err != nil {
		return Kernel{}, fmt.Errorf("cannot record kernel %q: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	dir := filepath.Join(s.dir, name)
	if _, err := os.Lstat(dir); err == nil {
		return Kernel{}, fmt.Errorf("a guest kernel named %q is there already; give this one another name (--name), or remove that one (abode kernel rm %s): %w", name, name, errdefs.ErrAlreadyExists)
	}
	if err := os.Rename(d.dir, dir); err != nil {
		return Kernel{}, fmt.Errorf("cannot put kernel %q into the store: %w", name, err)
	}
	return s.read(name)
}

// imageRelease reads `uname -r` from a Linux/x86 boot image (Documentation/
// arch/x86/boot.rst: "HdrS" at 0x202, kernel_version at 0x20e, relative to 0x200).
func imageRelease(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, 64<<10)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", fmt.Errorf("cannot read the kernel image: %w", err)
	}
	head = head[:n]
	if n < 0x250 || string(head[0x202:0x206]) != "HdrS" {
		return "", fmt.Errorf("it is not a Linux/x86 boot image: %w", errdefs.ErrInvalidArgument)
	}
	at := int(head[0x20e]) + int(head[0x20f])<<8 + 0x200
	if at <= 0x250 || at >= n {
		return "", fmt.Errorf("it does not tell its version: %w", errdefs.ErrInvalidArgument)
	}
	text, _, _ := bytes.Cut(head[at:], []byte{0})
	release, _, _ := strings.Cut(string(text), " ")
	if !nameRE.MatchString(release) {
		return "", fmt.Errorf("it does not tell its version: %w", errdefs.ErrInvalidArgument)
	}
	return release, nil
}
