package runtime

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMountPointStaysInside makes mount points through links that try to lead out.
func TestMountPointStaysInside(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	os.MkdirAll(filepath.Join(root, "etc"), 0o755)
	for link, to := range map[string]string{
		"abs": outside, "up": "../../../../../../../.." + outside, "in": "/etc", "rel": "etc", "loop": "loop", "dangling": "/not/there",
	} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for target, want := range map[string]string{
		"/abs/a": filepath.Join(root, outside, "a"), "/up/b": filepath.Join(root, outside, "b"), "/in/c": filepath.Join(root, "etc/c"),
		"/rel/d/e": filepath.Join(root, "etc/d/e"), "/../../f": filepath.Join(root, "f"), "/dangling/g": filepath.Join(root, "not/there/g"), "/loop/h": "",
	} {
		var made []string
		got, err := mountPoint(fd, target, true, &made)
		if (err != nil) != (want == "") {
			t.Errorf("%s: %v", target, err)
			continue
		}
		if err != nil {
			continue
		}
		unix.Close(got)
		if st, err := os.Stat(want); err != nil || !st.IsDir() {
			t.Errorf("%s is not at %s: %v (made %v)", target, want, err, made)
		}
	}
	if names, _ := os.ReadDir(outside); len(names) != 0 {
		t.Errorf("something was made outside: %v", names)
	}
	var made []string
	f, err := mountPoint(fd, "/x/y/file", false, &made)
	if err != nil || !slices.Equal(made, []string{"/x", "/x/y", "/x/y/file"}) {
		t.Fatalf("%v %v", made, err)
	}
	unix.Close(f)
	if _, err := mountPoint(fd, "/x/y/file", true, nil); err == nil {
		t.Error("a directory is mounted onto a file")
	}
}
