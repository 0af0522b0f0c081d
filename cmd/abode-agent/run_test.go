package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
)

// both runs a test with and without a user namespace.
func both(t *testing.T, f func(t *testing.T, h *hostAgent, adapt func(*agent.CreateRequest) *agent.CreateRequest)) {
	h := startAgent(t)
	for name, adapt := range map[string]func(*agent.CreateRequest) *agent.CreateRequest{
		"userns":      func(r *agent.CreateRequest) *agent.CreateRequest { return r },
		"host userns": func(r *agent.CreateRequest) *agent.CreateRequest { hostUser(r); return r },
	} {
		t.Run(name, func(t *testing.T) {
			sub := *h
			sub.t = t
			f(t, &sub, adapt)
		})
	}
}

func TestRun(t *testing.T) {
	both(t, func(t *testing.T, h *hostAgent, adapt func(*agent.CreateRequest) *agent.CreateRequest) {
		out, stderr, exit := h.run1(adapt(h.container("echo out; echo err >&2; hostname; echo $HOME $$; exit 7")))
		if out != "out\nbox\n/root 1\n" || stderr != "err\n" || exit.Code != 7 || exit.Signal != 0 || exit.At.IsZero() {
			t.Errorf("out %q, err %q, exit %+v", out, stderr, exit)
		}
	})
}

func TestExitBySignal(t *testing.T) {
	h := startAgent(t)
	req := h.container("trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done")
	h.must(agent.MethodCreate, req, nil)
	a := h.attach(req.ID, "")
	h.must(agent.MethodStart, agent.ProcessRequest{ID: req.ID}, nil)
	a.until(t, "up")
	h.must(agent.MethodKill, agent.KillRequest{ID: req.ID, Signal: int(unix.SIGTERM)}, nil)
	var exit agent.Exit
	h.must(agent.MethodWait, agent.ProcessRequest{ID: req.ID}, &exit)
	if exit.Code != 3 {
		t.Errorf("exit %+v", exit)
	}
	req = h.container("sleep 1000")
	h.must(agent.MethodCreate, req, nil)
	h.must(agent.MethodStart, agent.ProcessRequest{ID: req.ID}, nil)
	h.must(agent.MethodKill, agent.KillRequest{ID: req.ID, Signal: int(unix.SIGKILL), All: true}, nil)
	h.must(agent.MethodWait, agent.ProcessRequest{ID: req.ID}, &exit)
	if exit.Code != 137 || exit.Signal != 9 || exit.OOMKilled {
		t.Errorf("exit %+v", exit)
	}
	err := h.call(agent.MethodKill, agent.KillRequest{ID: req.ID, Signal: 15}, nil)
	if !errors.Is(err, &agent.Error{Class: agent.ClassConflict}) {
		t.Errorf("a signal to the dead: %v", err)
	}
}

func TestStartErrors(t *testing.T) {
	h := startAgent(t)
	for args, want := range map[string]struct{ class, text string }{
		"nosuch":      {agent.ClassNotFound, `exec: "nosuch": executable file not found in $PATH`},
		"/bin/nosuch": {agent.ClassNotFound, `exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory`},
		"/etc/plain":  {agent.ClassNotExecutable, "permission denied"},
		"/etc":        {agent.ClassNotExecutable, "permission denied"},
		"/tmp/text":   {agent.ClassNotExecutable, "exec format error"},
	} {
		req := h.container("")
		req.Spec.Process.Args = []string{args}
		src := filepath.Join(h.run, "text")
		os.WriteFile(src, []byte("no program"), 0o755)
		req.Mounts = []agent.Mount{{Type: agent.MountBind, Source: src, Target: "/tmp/text"}}
		err := h.call(agent.MethodCreate, req, nil)
		if err == nil {
			err = h.call(agent.MethodStart, agent.ProcessRequest{ID: req.ID}, nil)
		}
		if !errors.Is(err, &agent.Error{Class: want.class}) || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: got %v, want %s %q", args, err, want.class, want.text)
		}
		h.must(agent.MethodDelete, agent.IDRequest{ID: req.ID}, nil)
	}
	req := h.container("true")
	req.User = "nobody-here"
	err := h.call(agent.MethodCreate, req, nil)
	if !errors.Is(err, &agent.Error{Class: agent.ClassInvalid}) || !strings.Contains(err.Error(), "no matching entries in passwd file") {
		t.Errorf("unknown user: %v", err)
	}
	req = h.container("true") // no kernel maps an ID twice
	req.Spec.Linux.UIDMappings = append(req.Spec.Linux.UIDMappings, req.Spec.Linux.UIDMappings...)
	err = h.call(agent.MethodCreate, req, nil)
	if !errors.Is(err, &agent.Error{Class: agent.ClassInvalid}) || !strings.Contains(err.Error(), "cannot map the user namespace") {
		t.Errorf("a map that is none: %v", err)
	}
	var list agent.ListResponse
	h.must(agent.MethodList, agent.Empty{}, &list)
	if len(list.Containers) != 0 {
		t.Errorf("containers are left: %+v", list)
	}
}

func TestUsers(t *testing.T) {
	both(t, func(t *testing.T, h *hostAgent, adapt func(*agent.CreateRequest) *agent.CreateRequest) {
		req := adapt(h.container("id -u; id -g; id -G; echo $HOME; echo hi > /dev/stdout; grep Cap /proc/self/status; touch /etc/x 2>&1"))
		req.User, req.Groups = "app", []string{"4242"}
		out, _, _ := h.run1(req)
		for _, want := range []string{"1000\n1000\n1000 29 4242\n/home/app\nhi\n", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t00000000a80425fb", "Permission denied"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in %q", want, out)
			}
		}
		out = h.output(adapt(h.container("grep Cap /proc/self/status; grep NoNew /proc/self/status; ulimit -n")))
		for _, want := range []string{"CapEff:\t00000000a80425fb", "CapPrm:\t00000000a80425fb", "CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t0", "1024"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in %q", want, out)
			}
		}
	})
}

// denyMkdir is a filter that fails mkdir(2) and mkdirat(2) with EPERM+… on amd64.
func denyMkdir() []byte {
	type insn struct {
		code   uint16
		jt, jf uint8
		k      uint32
	}
	prog := []insn{
		{0x20, 0, 0, 0},                   // A = nr
		{0x15, 2, 0, unix.SYS_MKDIRAT},    // mkdirat: fail
		{0x15, 1, 0, sysMkdir},            // mkdir: fail
		{0x06, 0, 0, 0x7fff0000},          // allow
		{0x06, 0, 0, 0x00050000 | 0x4e21}, // errno, capped by the kernel
	}
	prog[4].k = 0x00050000 | uint32(unix.EROFS)
	var b []byte
	for _, i := range prog {
		b = append(b, byte(i.code), byte(i.code>>8), i.jt, i.jf, byte(i.k), byte(i.k>>8), byte(i.k>>16), byte(i.k>>24))
	}
	return b
}

func TestSeccomp(t *testing.T) {
	both(t, func(t *testing.T, h *hostAgent, adapt func(*agent.CreateRequest) *agent.CreateRequest) {
		for _, nnp := range []bool{false, true} {
			for _, user := range []string{"", "app"} {
				req := adapt(h.container("mkdir /tmp/d 2>&1; grep -E 'Seccomp:|NoNew|CapBnd' /proc/self/status"))
				req.Seccomp, req.Spec.Process.NoNewPrivileges, req.User = denyMkdir(), nnp, user
				out := h.output(req)
				if !strings.Contains(out, "Read-only file system") || !strings.Contains(out, "Seccomp:\t2") || strings.Contains(out, "NoNewPrivs:\t1") != nnp {
					t.Errorf("nnp %v user %q: %q", nnp, user, out)
				}
			}
		}
	})
}

func TestRootfs(t *testing.T) {
	both(t, func(t *testing.T, h *hostAgent, adapt func(*agent.CreateRequest) *agent.CreateRequest) {
		out := h.output(adapt(h.container(`
cat /proc/kcore | wc -c; ls /sys/firmware | wc -l
touch /sys/x 2>&1; echo 1 > /proc/sys/kernel/panic; echo 2>&1
for d in null zero full random urandom tty; do [ -c /dev/$d ] || echo no $d; done
head -c 4 /dev/zero | wc -c; echo x > /dev/null && echo nullok
ls -l /dev/ptmx /dev/fd | sed 's/.* \//\//'
[ -e /dev/shm ] && echo no shm wanted
cat /sys/fs/cgroup/memory/cgroup.procs | wc -l; cat /proc/self/cgroup | grep -c ':/$'
echo w > /etc/new; ls -ln /etc/new | cut -d' ' -f1-12
grep -c . /proc/mounts; umount /proc/kcore 2>&1; mount -t tmpfs x /tmp 2>&1; ls -a / | tr '\n' ' '; cat /proc/1/root/etc/hostname 2>&1 | head -1
`)))
		for _, want := range []string{"0\n0\n", "touch: /sys/x: Read-only file system", "4\nnullok\n", "/dev/ptmx -> pts/ptmx"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in %q", want, out)
			}
		}
		if strings.Contains(out, "no ") && strings.Contains(out, "\nno ") {
			t.Errorf("missing devices: %q", out)
		}
		req := adapt(h.container("touch /x 2>&1; touch /tmp/y 2>&1; cat /etc/hosts; echo more >> /etc/hosts; tail -1 /etc/hosts; echo z > /vol/z && cat /vol/z"))
		req.Rootfs.ReadOnly = true
		req.Files = []agent.File{{Path: "/etc/hosts", Mode: 0o644, Content: []byte("127.0.0.1 localhost\n")}}
		req.Mounts = []agent.Mount{{Type: agent.MountTmpfs, Target: "/vol", Options: []string{"size=64k", "mode=1777"}}}
		out = h.output(req)
		if out != "touch: /x: Read-only file system\ntouch: /tmp/y: Read-only file system\n127.0.0.1 localhost\nmore\nz\n" {
			t.Errorf("read-only: %q", out)
		}
	})
}

func TestBinds(t *testing.T) {
	both(t, func(t *testing.T, h *hostAgent, adapt func(*agent.CreateRequest) *agent.CreateRequest) {
		src := filepath.Join(h.run, strings.ReplaceAll(t.Name(), "/", "_"))
		for _, d := range []string{"rw", "ro/below", "vol", "keep"} {
			os.MkdirAll(filepath.Join(src, d), 0o755)
		}
		os.WriteFile(filepath.Join(src, "rw/f"), []byte("from the host\n"), 0o600)
		os.WriteFile(filepath.Join(src, "keep/mine"), nil, 0o600)
		if err := unix.Mount("tmpfs", filepath.Join(src, "ro/below"), "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(filepath.Join(src, "ro/below"), 0)
		req := adapt(h.container(`cat /a/deep/f; stat -c %u /a/deep/f; echo new > /a/deep/g; chown 1000 /a/deep/g
touch /r/x 2>&1; touch /r/below/x 2>&1; cat /data/seed; stat -c %u /data/seed; readlink /data/sub/link; ls /data2; ls /jump/inside /etc/inside`))
		req.Mounts = []agent.Mount{
			{Type: agent.MountBind, Source: filepath.Join(src, "rw"), Target: "/a/deep"},
			{Type: agent.MountBind, Source: filepath.Join(src, "ro"), Target: "/r", ReadOnly: true},
			{Type: agent.MountBind, Source: filepath.Join(src, "vol"), Target: "/data", CopyUp: true},
			{Type: agent.MountBind, Source: filepath.Join(src, "keep"), Target: "/data2", CopyUp: true},
			{Type: agent.MountBind, Source: filepath.Join(src, "keep"), Target: "/jump/inside"},
			{Type: agent.MountBind, Source: filepath.Join(src, "keep"), Target: "/dangling/x"},
		}
		out := h.output(req)
		want := "from the host\n0\ntouch: /r/x: Read-only file system\ntouch: /r/below/x: Read-only file system\nseed\n1000\n../seed\nmine\n/etc/inside:\nmine\n\n/jump/inside:\nmine\n"
		if out != want {
			t.Errorf("got %q\nwant %q", out, want)
		}
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(src, "rw/g"), &st); err != nil || st.Uid != 1000 {
			t.Errorf("the owner on the host: %v %v", st.Uid, err)
		}
		if _, err := os.Stat("/nowhere"); err == nil {
			t.Error("a link led a mount point out of the root")
		}
		if err := unix.Stat(filepath.Join(src, "vol/seed"), &st); err != nil || st.Uid != 1000 {
			t.Errorf("the volume's seed: %v %v", st.Uid, err)
		}
	})
}

func TestInitReapsAndForwards(t *testing.T) {
	h := startAgent(t)
	req := h.container("echo $$ $PPID; trap 'echo got; exit 5' TERM; (sleep 0.01 & ) ; echo up; while :; do sleep 0.05; done")
	req.Init = true
	req.Seccomp = denyMkdir()
	h.must(agent.MethodCreate, req, nil)
	a := h.attach(req.ID, "")
	h.must(agent.MethodStart, agent.ProcessRequest{ID: req.ID}, nil)
	a.until(t, "up")
	h.must(agent.MethodKill, agent.KillRequest{ID: req.ID, Signal: int(unix.SIGTERM)}, nil)
	var exit agent.Exit
	h.must(agent.MethodWait, agent.ProcessRequest{ID: req.ID}, &exit)
	<-a.done
	if out := a.out(); exit.Code != 5 || !strings.Contains(out, " 1\n") || !strings.Contains(out, "got\n") {
		t.Errorf("exit %+v, out %q", exit, out)
	}
}

func TestSysctlAndRlimit(t *testing.T) {
	h := startAgent(t)
	req := h.container("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced; ulimit -n; ulimit -c")
	req.Spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "0", "kernel.shm_rmid_forced": "1"}
	req.Spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}, {Type: "core", Soft: 0, Hard: 0}}
	if out := h.output(req); out != "0\n1\n100\n0\n" {
		t.Errorf("%q", out)
	}
}
