package engine

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

// An image of another platform is refused by what it is and what to do, and is
// not found only when a pull can help.
func TestCheckPlatform(t *testing.T) {
	const other = "linux/s390x"
	for _, c := range []struct {
		have, want string
		class      func(error) bool
		has        string
	}{
		{here, "", nil, ""},
		{here, here, nil, ""},
		{here, "linux", nil, ""},
		{here, other, errdefs.IsInvalidArgument, "the local image is for that; leave --platform out"},
		{here, "windows/amd64", errdefs.IsInvalidArgument, "leave --platform out"},
		{"", other, errdefs.IsInvalidArgument, "runs " + here + " alone; name that with --platform"},
		{"", "", errdefs.IsNotFound, "No such image: web"},
		{"", here, errdefs.IsNotFound, "No such image: web"},
		{other, here, errdefs.IsNotFound, "was found but its platform (" + other + ") does not match the specified platform (" + here + "); pull it with --platform " + here},
		{other, other, errdefs.IsInvalidArgument, "runs " + here + " alone; name that"},
		{other, "", errdefs.IsInvalidArgument, "is for " + other + " and this machine runs " + here + ": pull it with --platform " + here},
		{here, "not/a/plat/form", errdefs.IsInvalidArgument, "invalid platform"},
	} {
		err := checkPlatform("web", c.have, c.want)
		if c.class == nil {
			if err != nil {
				t.Errorf("%q for %q: %v", c.have, c.want, err)
			}
		} else if !c.class(err) || !strings.Contains(err.Error(), c.has) {
			t.Errorf("%q for %q: %v, want %s", c.have, c.want, err, c.has)
		}
	}
}
