package api

import (
	"fmt"
	"strconv"
	"strings"
)

// apiVersion is a version of the Docker Engine API, such as 1.41.
type apiVersion struct{ major, minor int }

// The versions that are served. The newest is that of the pinned types.
var (
	oldestVersion = apiVersion{1, 24}
	newestVersion = apiVersion{1, 56}
)

func (v apiVersion) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

// before says whether v is older than 1.minor.
func (v apiVersion) before(minor int) bool {
	return v.major < 1 || v.major == 1 && v.minor < minor
}

func (v apiVersion) supported() error {
	if v.before(oldestVersion.minor) {
		return invalid(fmt.Sprintf("client version %s is too old. Minimum supported API version is %s, please upgrade your client to a newer version", v, oldestVersion))
	}
	if v.major > newestVersion.major || v.minor > newestVersion.minor {
		return invalid(fmt.Sprintf("client version %s is too new. Maximum supported API version is %s", v, newestVersion))
	}
	return nil
}

// cutVersion takes "/v1.41" off a path. ok is false when it has no such prefix;
// the path then is meant for the newest version.
func cutVersion(path string) (v apiVersion, rest string, ok bool) {
	after, ok := strings.CutPrefix(path, "/v")
	if !ok {
		return v, path, false
	}
	number, rest, ok := strings.Cut(after, "/")
	if !ok {
		return v, path, false
	}
	major, minor, ok := strings.Cut(number, ".")
	if !ok {
		return v, path, false
	}
	if v.major, ok = smallNumber(major); !ok {
		return v, path, false
	}
	if v.minor, ok = smallNumber(minor); !ok {
		return v, path, false
	}
	return v, "/" + rest, true
}

// smallNumber reads up to four decimal digits.
func smallNumber(s string) (int, bool) {
	if len(s) == 0 || len(s) > 4 {
		return 0, false
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}
