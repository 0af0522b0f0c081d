package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// filesConfig tells a files stage what to do. It stands in the container's
// mount and user namespaces, so that its root is the container's, owners are
// numbered as there, and no path leads out; it shares nothing else with the
// container.
type filesConfig struct {
	Stat    *agent.PathRequest
	Archive *agent.PathRequest
	Extract *agent.ExtractRequest
}

// filesMain answers once when the path was found, so that a failure can still
// be told, and again at the end of a stream.
func filesMain(ctl *control) error {
	var cfg filesConfig
	fds, err := ctl.receive(&cfg)
	if err != nil {
		return fmt.Errorf("cannot read what is wanted: %w", err)
	}
	unix.Umask(0)
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	var pipe *os.File
	if len(fds) > 0 {
		pipe = os.NewFile(uintptr(fds[0]), "stream")
		defer pipe.Close()
	}
	switch {
	case cfg.Stat != nil:
		st, err := statPath(cfg.Stat)
		if err != nil {
			return err
		}
		result, err := json.Marshal(st)
		if err != nil {
			return err
		}
		return ctl.send(stageReply{Result: result})
	case cfg.Archive != nil:
		a, err := openArchive(cfg.Archive)
		if err != nil {
			return err
		}
		if err := ctl.send(stageReply{}); err != nil {
			return err
		}
		if err := a.write(pipe); err != nil {
			return err
		}
	case cfg.Extract != nil:
		x, err := openExtract(cfg.Extract)
		if err != nil {
			return err
		}
		if err := ctl.send(stageReply{}); err != nil {
			return err
		}
		if err := x.read(pipe); err != nil {
			return err
		}
	}
	return ctl.send(stageReply{})
}

// resolve returns the path to work on. A trailing separator or dot means what
// a link at the end leads to.
func resolve(p string, follow bool) string {
	clean := path.Clean("/" + p)
	if follow || strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") {
		if clean != "/" {
			clean += "/."
			if st, err := os.Stat(clean[:len(clean)-2]); err == nil && !st.IsDir() {
				clean = clean[:len(clean)-2]
				for range maxLinks {
					to, err := os.Readlink(clean)
					if err != nil {
						break
					}
					if !path.IsAbs(to) {
						to = path.Join(path.Dir(clean), to)
					}
					clean = path.Clean(to)
				}
			}
		}
	}
	return clean
}

func pathError(p string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return errorf(agent.ClassNoContainer, "could not find the file %s in the container", p)
	}
	return errorf(agent.ClassInvalid, "cannot use the path %s: %w", p, unwrapPath(err))
}

func statPath(req *agent.PathRequest) (agent.FileStat, error) {
	p := resolve(req.Path, req.Follow)
	st, err := os.Lstat(p)
	if err != nil {
		return agent.FileStat{}, pathError(req.Path, err)
	}
	s := agent.FileStat{
		Name: path.Base(path.Clean("/" + req.Path)), Size: st.Size(), Mode: uint32(st.Mode()), ModTime: st.ModTime(),
	}
	if st.Mode()&fs.ModeSymlink != 0 {
		to, err := os.Readlink(p)
		if err != nil {
			return s, pathError(req.Path, err)
		}
		if !path.IsAbs(to) {
			to = path.Join(path.Dir(p), to)
		}
		s.LinkTarget = path.Clean(to)
	}
	return s, nil
}
