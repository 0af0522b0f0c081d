package kernels

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
)

// Progress is told, in words for people, what an import or installation does.
// It may be nil.
type Progress func(status string)

func (p Progress) say(format string, args ...any) {
	if p != nil {
		p(fmt.Sprintf(format, args...))
	}
}

// ImportDeb adds the kernel of a Debian or Ubuntu linux-image package; name ""
// takes the kernel's release. The package is hostile input: nothing of it is
// executed, and its names, links and sizes are not trusted.
func (s *Store) ImportDeb(ctx context.Context, file, name string, progress Progress) (Kernel, error) {
	f, err := os.Open(file)
	if err != nil {
		return Kernel{}, fmt.Errorf("cannot open the package: %w", err)
	}
	defer f.Close()
	return s.Import(ctx, f, name, filepath.Base(file), progress)
}

// Import adds a kernel from a stream: a .deb, or a tar of a directory with a
// vmlinuz and modules. source is for people.
func (s *Store) Import(ctx context.Context, r io.Reader, name, source string, progress Progress) (Kernel, error) {
	d, err := s.newDraft()
	if err != nil {
		return Kernel{}, err
	}
	defer os.RemoveAll(d.dir)
	progress.say("extracting %s", source)
	br := bufio.NewReaderSize(ctxReader{ctx, r}, 64<<10)
	var data io.Reader = br
	if magic, _ := br.Peek(len(arMagic)); string(magic) == arMagic {
		if data, err = debData(br); err != nil {
			return Kernel{}, fmt.Errorf("cannot read %s: %w", source, err)
		}
	}
	if err := d.offerTar(tar.NewReader(data)); err != nil {
		return Kernel{}, fmt.Errorf("cannot read %s: %w", source, err)
	}
	// The archive's own checksum is behind what the tar reader needs.
	if _, err := io.Copy(io.Discard, data); err != nil {
		return Kernel{}, fmt.Errorf("cannot read %s to its end: %w: %w", source, err, errdefs.ErrInvalidArgument)
	}
	k, err := s.publish(d, name, source)
	if err == nil {
		progress.say("kernel %s is ready, %d modules", k.Name, d.modules)
	}
	return k, err
}

func (d *draft) offerTar(tr *tar.Reader) error {
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
		}
		if n > maxEntries {
			return fmt.Errorf("it has more than %d entries: %w", maxEntries, errdefs.ErrInvalidArgument)
		}
		if h.Typeflag != tar.TypeReg {
			continue // links and devices have no part in a kernel
		}
		if err := d.offer(h.Name, tr); err != nil {
			return err
		}
	}
}

// ImportDir adds a kernel from a directory that holds one vmlinuz* and modules
// (lib/modules/…, modules/…, at any depth). Symbolic links are not followed.
func (s *Store) ImportDir(ctx context.Context, dir, name string, progress Progress) (Kernel, error) {
	d, err := s.newDraft()
	if err != nil {
		return Kernel{}, err
	}
	defer os.RemoveAll(d.dir)
	progress.say("copying %s", dir)
	n := 0
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if n++; n > maxEntries {
			return fmt.Errorf("it has more than %d entries: %w", maxEntries, errdefs.ErrInvalidArgument)
		}
		if !e.Type().IsRegular() {
			return nil
		}
		if base := e.Name(); !moduleRE.MatchString(base) && !imageRE.MatchString(base) {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return d.offer(path, ctxReader{ctx, f})
	})
	if err != nil {
		return Kernel{}, fmt.Errorf("cannot import %s: %w", dir, err)
	}
	return s.publish(d, name, dir)
}

// ctxReader ends a long extraction when its context does.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
