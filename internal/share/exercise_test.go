package share

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func isErr(err error, want error) bool { return errors.Is(err, want) }

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func content(t *testing.T, path, want string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || string(b) != want {
		t.Errorf("%s has %.40q, %v; want %.40q", filepath.Base(path), b, err, want)
	}
}

// exercises are what programs do with files. Each gets an empty directory.
var exercises = []struct {
	name string
	run  func(t *testing.T, dir string)
}{
	{"write", func(t *testing.T, d string) {
		f := filepath.Join(d, "f")
		check(t, os.WriteFile(f, []byte("hello"), 0o640))
		content(t, f, "hello")
		check(t, os.WriteFile(f, []byte("bye"), 0o640)) // truncates
		content(t, f, "bye")
		check(t, os.Truncate(f, 1))
		content(t, f, "b")
		check(t, os.Truncate(f, 3))
		content(t, f, "b\x00\x00")
		_, err := os.OpenFile(f, os.O_CREATE|os.O_EXCL, 0o600)
		wantErr(t, "O_EXCL", err, unix.EEXIST)
		_, err = os.Open(f + "none")
		wantErr(t, "open", err, unix.ENOENT)
		fi, err := os.Stat(f)
		if err != nil || fi.Mode() != 0o640 || fi.Size() != 3 {
			t.Errorf("stat: %v %v", fi, err)
		}
	}},
	{"append", func(t *testing.T, d string) {
		f := filepath.Join(d, "f")
		a, err := os.OpenFile(f, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		check(t, err)
		b, err := os.OpenFile(f, os.O_WRONLY|os.O_APPEND, 0)
		check(t, err)
		for range 10 {
			_, err = a.WriteString("a")
			check(t, err)
			_, err = b.WriteString("b")
			check(t, err)
		}
		flags, err := unix.FcntlInt(b.Fd(), unix.F_GETFL, 0)
		check(t, err)
		_, err = unix.FcntlInt(b.Fd(), unix.F_SETFL, flags&^unix.O_APPEND)
		check(t, err)
		_, err = unix.Pwrite(int(b.Fd()), []byte("X"), 1)
		check(t, err)
		check(t, errors.Join(a.Close(), b.Close()))
		content(t, f, "aX"+string(bytes.Repeat([]byte("ab"), 9)))
	}},
	{"big", func(t *testing.T, d string) {
		data := make([]byte, 20<<20+123)
		_, _ = rand.Read(data)
		f := filepath.Join(d, "f")
		check(t, os.WriteFile(f, data, 0o600))
		got, err := os.ReadFile(f)
		check(t, err)
		if !bytes.Equal(got, data) {
			t.Error("read other bytes than were written")
		}
		file, err := os.OpenFile(f, os.O_RDWR|os.O_SYNC, 0)
		check(t, err)
		_, err = file.WriteAt([]byte("0123456789"), 5<<20-5)
		check(t, err)
		check(t, file.Sync())
		check(t, unix.Fdatasync(int(file.Fd())))
		copy(data[5<<20-5:], "0123456789")
		check(t, file.Close())
		if got, _ = os.ReadFile(f); !bytes.Equal(got, data) {
			t.Error("after an overwrite other bytes")
		}
		dirf, err := os.Open(d)
		check(t, err)
		check(t, dirf.Sync())
		check(t, dirf.Close())
	}},
	{"rename", func(t *testing.T, d string) {
		a, b := filepath.Join(d, "a"), filepath.Join(d, "b")
		check(t, os.WriteFile(a, []byte("a"), 0o600))
		check(t, os.WriteFile(b, []byte("b"), 0o600))
		wantErr(t, "no replace", unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_NOREPLACE), unix.EEXIST)
		check(t, unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE))
		content(t, a, "b")
		content(t, b, "a")
		open, err := os.Open(b)
		check(t, err)
		check(t, os.Rename(a, b))
		content(t, b, "b")
		buf := make([]byte, 2)
		if k, _ := open.ReadAt(buf, 0); string(buf[:k]) != "a" {
			t.Errorf("a file that was replaced reads %q", buf[:k])
		}
		check(t, open.Close())
		check(t, os.MkdirAll(filepath.Join(d, "x", "y"), 0o755))
		check(t, os.WriteFile(filepath.Join(d, "x", "y", "f"), []byte("deep"), 0o600))
		check(t, os.Rename(filepath.Join(d, "x"), filepath.Join(d, "z")))
		content(t, filepath.Join(d, "z", "y", "f"), "deep")
		wantErr(t, "rmdir", unix.Rmdir(filepath.Join(d, "z")), unix.ENOTEMPTY)
		wantErr(t, "into itself", unix.Rename(filepath.Join(d, "z"), filepath.Join(d, "z", "y", "z")), unix.EINVAL)
	}},
	{"links", func(t *testing.T, d string) {
		a, b, l := filepath.Join(d, "a"), filepath.Join(d, "b"), filepath.Join(d, "l")
		check(t, os.WriteFile(a, []byte("a"), 0o600))
		check(t, os.Link(a, b))
		check(t, os.WriteFile(b, []byte("both"), 0o600))
		content(t, a, "both")
		var sa, sb unix.Stat_t
		check(t, unix.Stat(a, &sa))
		check(t, unix.Stat(b, &sb))
		if sa.Ino != sb.Ino || sa.Nlink != 2 {
			t.Errorf("inodes %d and %d, %d links", sa.Ino, sb.Ino, sa.Nlink)
		}
		check(t, os.Remove(a))
		content(t, b, "both")
		check(t, os.Symlink("b", l))
		content(t, l, "both")
		if s, err := os.Readlink(l); err != nil || s != "b" {
			t.Errorf("readlink: %q %v", s, err)
		}
		long := string(bytes.Repeat([]byte("x"), 4000))
		check(t, os.Symlink(long, l+"2"))
		if s, err := os.Readlink(l + "2"); err != nil || s != long {
			t.Errorf("a long link: %d bytes, %v", len(s), err)
		}
		check(t, os.Link(l, l+"3")) // of the link itself
		check(t, os.Remove(l))
		if s, err := os.Readlink(l + "3"); err != nil || s != "b" {
			t.Errorf("hard link of a link: %q %v", s, err)
		}
	}},
	{"unlinked", func(t *testing.T, d string) {
		f, err := os.OpenFile(filepath.Join(d, "f"), os.O_CREATE|os.O_RDWR, 0o600)
		check(t, err)
		check(t, os.Remove(f.Name()))
		_, err = f.WriteString("nameless")
		check(t, err)
		check(t, f.Truncate(4))
		fi, err := f.Stat()
		if err != nil || fi.Size() != 4 {
			t.Errorf("stat: %v %v", fi, err)
		}
		buf := make([]byte, 10)
		if k, _ := f.ReadAt(buf, 0); string(buf[:k]) != "name" {
			t.Errorf("read %q", buf[:k])
		}
		check(t, f.Close())
		if es, _ := os.ReadDir(d); len(es) != 0 {
			t.Errorf("left: %v", es)
		}
	}},
	{"attributes", func(t *testing.T, d string) {
		f := filepath.Join(d, "f")
		check(t, os.WriteFile(f, nil, 0o600))
		at, mt := time.Unix(1000, 5000), time.Unix(-2000, 7000)
		check(t, os.Chtimes(f, at, mt))
		var st unix.Stat_t
		check(t, unix.Stat(f, &st))
		if st.Atim.Sec != 1000 || st.Mtim.Sec != -2000 || st.Mtim.Nsec != 7000 {
			t.Errorf("times %v %v", st.Atim, st.Mtim)
		}
		check(t, os.Chown(f, 10, 20))
		check(t, os.Chmod(f, 0o640|os.ModeSetuid|os.ModeSticky))
		check(t, unix.Stat(f, &st))
		if st.Uid != 10 || st.Gid != 20 || st.Mode != unix.S_IFREG|0o5640 {
			t.Errorf("%d:%d %o", st.Uid, st.Gid, st.Mode)
		}
		check(t, os.Mkdir(f+"d", 0o755))
		check(t, os.Chmod(f+"d", 0o755|os.ModeSetgid))
		if fi, err := os.Stat(f + "d"); err != nil || fi.Mode() != 0o755|os.ModeSetgid|os.ModeDir {
			t.Errorf("directory %v %v", fi.Mode(), err)
		}
		var fs unix.Statfs_t
		check(t, unix.Statfs(d, &fs))
		if fs.Blocks == 0 || fs.Bsize == 0 || fs.Namelen != 255 {
			t.Errorf("statfs %+v", fs)
		}
		_, err := os.Create(filepath.Join(d, string(bytes.Repeat([]byte("n"), 256))))
		wantErr(t, "a long name", err, unix.ENAMETOOLONG)
	}},
	{"xattrs", func(t *testing.T, d string) {
		f := filepath.Join(d, "f")
		check(t, os.WriteFile(f, nil, 0o600))
		check(t, unix.Setxattr(f, "user.a", []byte("value"), 0))
		check(t, unix.Setxattr(f, "user.empty", nil, 0))
		wantErr(t, "create", unix.Setxattr(f, "user.a", nil, unix.XATTR_CREATE), unix.EEXIST)
		buf := make([]byte, 100)
		k, err := unix.Getxattr(f, "user.a", buf)
		if err != nil || string(buf[:k]) != "value" {
			t.Errorf("get: %q %v", buf[:max(k, 0)], err)
		}
		_, err = unix.Getxattr(f, "user.a", buf[:2])
		wantErr(t, "small buffer", err, unix.ERANGE)
		k, err = unix.Listxattr(f, buf)
		if err != nil || string(buf[:k]) != "user.a\x00user.empty\x00" && string(buf[:k]) != "user.empty\x00user.a\x00" {
			t.Errorf("list: %q %v", buf[:max(k, 0)], err)
		}
		check(t, unix.Removexattr(f, "user.a"))
		_, err = unix.Getxattr(f, "user.a", buf)
		wantErr(t, "removed", err, unix.ENODATA)
	}},
	{"locks", func(t *testing.T, d string) {
		f := filepath.Join(d, "f")
		a, err := os.OpenFile(f, os.O_CREATE|os.O_RDWR, 0o600)
		check(t, err)
		b, err := os.OpenFile(f, os.O_RDWR, 0)
		check(t, err)
		check(t, unix.Flock(int(a.Fd()), unix.LOCK_EX))
		wantErr(t, "flock", unix.Flock(int(b.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
		check(t, unix.Flock(int(a.Fd()), unix.LOCK_UN))
		lk := unix.Flock_t{Type: unix.F_WRLCK, Start: 10, Len: 5}
		check(t, unix.FcntlFlock(a.Fd(), unix.F_OFD_SETLK, &lk))
		wantErr(t, "fcntl", unix.FcntlFlock(b.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: 12, Len: 1}), unix.EAGAIN)
		check(t, unix.FcntlFlock(b.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: 20, Len: 1}))
		check(t, errors.Join(a.Close(), b.Close()))
	}},
	{"mmap", func(t *testing.T, d string) {
		f, err := os.OpenFile(filepath.Join(d, "f"), os.O_CREATE|os.O_RDWR, 0o600)
		check(t, err)
		data := bytes.Repeat([]byte("0123456789abcdef"), 1024)
		_, err = f.Write(data)
		check(t, err)
		private, err := unix.Mmap(int(f.Fd()), 0, len(data), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
		check(t, err)
		if !bytes.Equal(private, data) {
			t.Error("a private mapping has other bytes")
		}
		private[0] = 'X'
		check(t, unix.Munmap(private))
		shared, err := unix.Mmap(int(f.Fd()), 0, len(data), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		check(t, err)
		copy(shared[5000:], "mapped")
		check(t, unix.Msync(shared, unix.MS_SYNC))
		check(t, unix.Munmap(shared))
		copy(data[5000:], "mapped")
		check(t, f.Close())
		content(t, f.Name(), string(data))
	}},
	{"directory", func(t *testing.T, d string) {
		var want []string
		for i := range 2000 {
			name := fmt.Sprintf("file with a somewhat longer name %04d", i)
			want = append(want, name)
			check(t, os.WriteFile(filepath.Join(d, name), nil, 0o600))
		}
		es, err := os.ReadDir(d)
		check(t, err)
		var got []string
		for _, e := range es {
			got = append(got, e.Name())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d entries", len(got))
		}
		// Removing while reading, as rm -r does.
		f, err := os.Open(d)
		check(t, err)
		removed := 0
		for {
			es, err := f.ReadDir(100)
			for _, e := range es {
				check(t, os.Remove(filepath.Join(d, e.Name())))
				removed++
			}
			if err != nil {
				break
			}
		}
		check(t, f.Close())
		if removed != 2000 {
			t.Errorf("removed %d", removed)
		}
	}},
	{"special", func(t *testing.T, d string) {
		pipe := filepath.Join(d, "pipe")
		check(t, unix.Mkfifo(pipe, 0o600))
		done := make(chan error, 1)
		go func() { done <- os.WriteFile(pipe, []byte("through"), 0) }()
		content(t, pipe, "through")
		check(t, <-done)
		sock := "/proc/self/fd/%d/s" // the path of a socket is short
		df, err := os.Open(d)
		check(t, err)
		l, err := net.Listen("unix", fmt.Sprintf(sock, df.Fd()))
		check(t, err)
		c, err := net.Dial("unix", fmt.Sprintf(sock, df.Fd()))
		check(t, err)
		check(t, errors.Join(c.Close(), l.Close(), df.Close()))
	}},
	{"space", func(t *testing.T, d string) {
		f, err := os.OpenFile(filepath.Join(d, "f"), os.O_CREATE|os.O_RDWR, 0o600)
		check(t, err)
		check(t, unix.Fallocate(int(f.Fd()), 0, 0, 1<<20))
		if fi, err := f.Stat(); err != nil || fi.Size() != 1<<20 {
			t.Errorf("fallocate: %v %v", fi, err)
		}
		check(t, f.Truncate(0))
		check(t, f.Truncate(1<<20))
		_, err = f.WriteAt([]byte("data"), 1<<19)
		check(t, err)
		check(t, f.Sync())
		if off, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_DATA); err != nil || off != 1<<19 {
			t.Errorf("SEEK_DATA: %d %v", off, err)
		}
		g, err := os.OpenFile(filepath.Join(d, "g"), os.O_CREATE|os.O_RDWR, 0o600)
		check(t, err)
		off := int64(1 << 19)
		k, err := unix.CopyFileRange(int(f.Fd()), &off, int(g.Fd()), nil, 4, 0)
		if err != nil || k != 4 {
			t.Errorf("copy_file_range: %d %v", k, err)
		}
		content(t, g.Name(), "data")
		check(t, errors.Join(f.Close(), g.Close()))
	}},
	{"at once", func(t *testing.T, d string) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 40 {
					f := filepath.Join(d, fmt.Sprint(i, "-", j%4))
					want := bytes.Repeat([]byte{byte('a' + i)}, 1000*(j+1))
					if err := os.WriteFile(f, want, 0o600); err != nil {
						t.Error(err)
					}
					if got, err := os.ReadFile(f); err != nil || !bytes.Equal(got, want) {
						t.Errorf("%s: %d bytes, %v", f, len(got), err)
					}
					if err := os.Rename(f, filepath.Join(d, "same")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}},
	{"programs", func(t *testing.T, d string) {
		for _, script := range []string{
			"cp /bin/true t && ./t && mkdir -p a/b/c && touch a/b/c/f && cp -a a e && diff -r a e && rm -r a e",
			"tar -C /etc -cf - passwd group | tar -xf - && cmp passwd /etc/passwd && sed -i s/root/toor/ passwd && ! cmp -s passwd /etc/passwd",
			"dd if=/dev/zero of=z bs=64k count=16 conv=fsync 2>/dev/null && test $(stat -c %s z) = 1048576",
		} {
			cmd := exec.Command("/bin/sh", "-ec", script)
			cmd.Dir = d
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", script, err, out)
			}
		}
	}},
}
