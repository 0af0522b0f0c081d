package reach

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/abode-run/abode/internal/seccomp"
)

func TestMain(m *testing.M) {
	if os.Getenv("REACH_TEST_CHILD") != "" {
		child()
	}
	os.Exit(m.Run())
}

// profile is Docker's default, for a container with these capabilities.
func profile(t *testing.T, capabilities ...string) []byte {
	program, err := seccomp.Program("", capabilities)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func filter(program []byte) (f Filter) {
	for p := program; len(p) > 0; p = p[8:] {
		f = append(f, unix.SockFilter{Code: binary.NativeEndian.Uint16(p), Jt: p[2], Jf: p[3], K: binary.NativeEndian.Uint32(p[4:])})
	}
	return f
}

func native() abi { return abis[runtime.GOARCH][0] }

func numberOf(t interface{ Fatal(...any) }, want string) uint32 {
	for n, name := range names() {
		if name == want {
			return n
		}
	}
	t.Fatal("no number for", want)
	return 0
}

func TestNames(t *testing.T) {
	for name, number := range map[string]uint32{"read": unix.SYS_READ, "io_uring_setup": unix.SYS_IO_URING_SETUP, "clone3": unix.SYS_CLONE3, "unshare": unix.SYS_UNSHARE} {
		if got := numberOf(t, name); got != number {
			t.Errorf("%s is %d, want %d", name, got, number)
		}
	}
	if n := len(names()); n < 300 || n > 500 {
		t.Errorf("%d names", n)
	}
}

func TestCount(t *testing.T) {
	none, err := Count(nil)
	if err != nil || none.Allowed != none.Total || len(none.Blocked)+len(none.Conditional) != 0 || len(none.OtherABIs) == 0 {
		t.Errorf("without filters: %+v %v", none, err)
	}
	usual, err := Count([]Filter{filter(profile(t))})
	if err != nil {
		t.Fatal(err)
	}
	if got := usual.Allowed + len(usual.Blocked) + len(usual.Conditional); got != usual.Total || usual.Total != none.Total {
		t.Errorf("%d of %d calls are somewhere", got, usual.Total)
	}
	for _, name := range []string{"mount", "bpf", "init_module", "kexec_load", "setns"} {
		if !slices.Contains(usual.Blocked, name) {
			t.Errorf("%s is not blocked: %+v", name, usual)
		}
	}
	for _, name := range []string{"clone", "personality", "socket"} {
		if !slices.Contains(usual.Conditional, name) {
			t.Errorf("%s does not hang on its arguments: %+v", name, usual)
		}
	}
	admin, err := Count([]Filter{filter(profile(t, "CAP_SYS_ADMIN"))})
	if err != nil || admin.Allowed <= usual.Allowed || slices.Contains(admin.Blocked, "mount") {
		t.Errorf("with a capability more: %+v %v", admin, err)
	}
	// Of two filters the stricter counts, in either order.
	for _, both := range [][]Filter{{filter(profile(t)), filter(profile(t, "CAP_SYS_ADMIN"))}, {filter(profile(t, "CAP_SYS_ADMIN")), filter(profile(t))}} {
		if c, err := Count(both); err != nil || c.Allowed != usual.Allowed || !slices.Equal(c.Blocked, usual.Blocked) {
			t.Errorf("both: %+v %v", c, err)
		}
	}
}

func stmt(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }

func TestJudge(t *testing.T) {
	load := func(offset uint32) unix.SockFilter { return stmt(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset) }
	ret := func(v uint32) unix.SockFilter { return stmt(unix.BPF_RET|unix.BPF_K, v) }
	equal := func(k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: yes, Jf: no, K: k}
	}
	const allow, notify, log, deny = unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_USER_NOTIF, unix.SECCOMP_RET_LOG, unix.SECCOMP_RET_ERRNO | 1
	for name, c := range map[string]struct {
		f    Filter
		want outcome
	}{
		"allows":              {Filter{ret(allow)}, passes},
		"logs":                {Filter{ret(log)}, passes},
		"asks":                {Filter{ret(notify)}, asks},
		"unknown action":      {Filter{ret(0x12340000)}, stops},
		"by number":           {Filter{load(0), equal(7, 0, 1), ret(allow), ret(deny)}, passes},
		"by another number":   {Filter{load(0), equal(8, 0, 1), ret(allow), ret(deny)}, stops},
		"by architecture":     {Filter{load(4), equal(99, 0, 1), ret(allow), ret(deny)}, passes},
		"by an argument":      {Filter{load(16), equal(1, 0, 1), ret(allow), ret(deny)}, passes | stops},
		"both ways the same":  {Filter{load(16), equal(1, 1, 0), ret(allow), ret(log)}, passes},
		"remembers":           {Filter{load(0), stmt(unix.BPF_ST, 3), load(16), stmt(unix.BPF_LD|unix.BPF_MEM, 3), equal(7, 0, 1), ret(allow), ret(deny)}, passes},
		"masks what is known": {Filter{load(0), stmt(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 3), equal(3, 0, 1), ret(allow), ret(deny)}, passes},
		"masks an argument":   {Filter{load(16), stmt(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 3), equal(3, 0, 1), ret(allow), ret(deny)}, passes | stops},
		"returns an argument": {Filter{load(16), stmt(unix.BPF_RET|unix.BPF_A, 0)}, anything},
		"runs off its end":    {Filter{load(16)}, anything},
		"jumps off its end":   {Filter{stmt(unix.BPF_JMP|unix.BPF_JA, math.MaxUint32), ret(deny)}, anything},
		"is none":             {Filter{}, anything},
		"unknown instruction": {Filter{stmt(0xffff, 0), ret(deny)}, anything},
	} {
		if got := c.f.judge(99, 7); got != c.want {
			t.Errorf("%s: %b, want %b", name, got, c.want)
		}
	}
}

// Whatever a call's arguments are, what another machine says of it is among
// the outcomes; and a call that is said to pass or to stop always does.
func TestJudgeAgainstMachine(t *testing.T) {
	f := filter(profile(t, "CAP_SYS_PTRACE"))
	raw := make([]bpf.RawInstruction, len(f))
	for i, in := range f {
		raw[i] = bpf.RawInstruction{Op: in.Code, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	code, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("cannot disassemble")
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.Uint32Range(0, 500), rapid.Just(numberOf(t, "clone")), rapid.Just(numberOf(t, "personality"))).Draw(t, "number")
		data := make([]byte, sizeOfData) // that machine reads big endian
		binary.BigEndian.PutUint32(data, number)
		binary.BigEndian.PutUint32(data[offsetArch:], native().arch)
		for o := 16; o < sizeOfData; o += 4 {
			binary.BigEndian.PutUint32(data[o:], rapid.SampledFrom([]uint32{0, 1, 8, 40, 0x20008, 0x10000000, 0xffffffff}).Draw(t, "half"))
		}
		v, err := vm.Run(data)
		if err != nil {
			t.Fatal(err)
		}
		s := state{a: word{uint32(v), true}}
		if one, all := s.result(stmt(unix.BPF_RET|unix.BPF_A, 0)), f.judge(native().arch, number); one&all == 0 {
			t.Fatalf("call %d: %b is not among %b", number, one, all)
		}
	})
}

// What is read of a process is what it installed, and it runs on.
func TestInstalled(t *testing.T) {
	program := profile(t)
	for _, n := range []string{"1", "2"} {
		child := exec.Command("/proc/self/exe")
		child.Env = []string{"REACH_TEST_CHILD=" + n}
		child.Stdin = bytes.NewReader(program)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		line := make([]byte, 6)
		if _, err := out.Read(line); err != nil || string(line) != "ready\n" {
			t.Fatalf("%q %v", line, err)
		}
		for range 2 {
			filters, err := Installed(child.Process.Pid)
			if err != nil {
				t.Fatal(err)
			}
			if len(filters) != int(n[0]-'0') {
				t.Errorf("%d filters, want %s", len(filters), n)
			}
			for _, f := range filters {
				if !slices.Equal(f, filter(program)) {
					t.Errorf("another filter of %d instructions", len(f))
				}
			}
		}
		if err := child.Process.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := child.Wait(); child.ProcessState.String() != "signal: terminated" {
			t.Errorf("it ended otherwise: %v", err)
		}
		if _, err := Installed(child.Process.Pid); err == nil {
			t.Error("a process that has ended has filters")
		}
	}
	free := exec.Command("sleep", "1000")
	if err := free.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := Installed(free.Process.Pid); err == nil {
		t.Error("a process without filters has some")
	}
	_ = free.Process.Kill()
	_ = free.Wait()
}
