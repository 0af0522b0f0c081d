package engine

import (
	"context"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

var errPermission = errdefs.ErrPermissionDenied

func utoa(n uint) string { return strconv.FormatUint(uint64(n), 10) }

// inMount says whether a path of the container is in something that the user
// has mounted for writing.
func (rec *record) inMount(p string) bool {
	p = path.Clean("/" + p)
	for _, m := range rec.Mounts {
		if (p == m.Target || strings.HasPrefix(p, m.Target+"/")) && !m.ReadOnly {
			return true
		}
	}
	return false
}

// sizes returns the bytes of disk that the container has written, and those
// together with its image's.
func (c *Container) sizes(ctx context.Context) (rw, root int64) {
	rec, _ := c.snapshot()
	// Everything in the container's directory but what the engine keeps there.
	_ = filepath.WalkDir(string(c.dir), func(p string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return ctx.Err() // what vanishes meanwhile has no size
		}
		if p == c.records.Config() || p == c.records.State() || p == c.dir.Log() || d.IsDir() {
			return nil
		}
		var st unix.Stat_t
		if unix.Lstat(p, &st) == nil {
			rw += st.Blocks * 512
		}
		return nil
	})
	root = rw
	if img, err := c.e.images.Get(ctx, rec.Image.String()); err == nil {
		root += img.Size
	}
	return rw, root
}
