package runtime

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// identity is whom the workload runs as.
type identity struct {
	Uid, Gid int
	Groups   []int
	Home     string
}

// lookupUser finds an image's user in its passwd and group files, whose
// contents may be anything.
func lookupUser(spec string, additional []string, passwd, group []byte) (identity, error) {
	defaults := user.ExecUser{Home: "/"}
	u, err := user.GetExecUser(spec, &defaults, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return identity{}, errorf(agent.ClassInvalid, "%w", err) // it names the user
	}
	id := identity{Uid: u.Uid, Gid: u.Gid, Groups: u.Sgids, Home: u.Home}
	if len(additional) > 0 {
		gids, err := user.GetAdditionalGroups(additional, bytes.NewReader(group))
		if err != nil {
			return identity{}, errorf(agent.ClassInvalid, "unable to find the additional groups: %w", err)
		}
		id.Groups = append(id.Groups, gids...)
	}
	if id.Home == "" {
		id.Home = "/"
	}
	return id, nil
}

// maxDatabase bounds what is read of an image's passwd and group files.
const maxDatabase = 16 << 20

// Where an image names its users.
const (
	passwdFile = "/etc/passwd"
	groupFile  = "/etc/group"
)

// readDatabase reads a file of an image, which may be anything: a pipe that
// never ends, or missing.
func readDatabase(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil // missing or unreadable: numbers still work
	}
	return readRegular(f)
}

// readRegular reads and closes f. What is no regular file is empty.
func readRegular(f *os.File) ([]byte, error) {
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, nil
	}
	b, err := io.ReadAll(io.LimitReader(f, maxDatabase+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", f.Name(), err)
	}
	if len(b) > maxDatabase {
		return nil, errorf(agent.ClassInvalid, "the image's %s is larger than %d bytes", f.Name(), maxDatabase)
	}
	return b, nil
}
