package seccomp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	mobyseccomp "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"pgregory.net/rapid"
)

func u(n uint) *uint { return &n }

// run executes a program on one system call, in x/net's BPF machine. Its
// packets are big-endian, so each word of the little-endian seccomp_data is
// given in that order.
func run(t interface{ Fatal(...any) }, program []byte, auditArch, nr uint32, args ...uint64) uint32 {
	var raw []bpf.RawInstruction
	for p := program; len(p) > 0; p = p[8:] {
		raw = append(raw, bpf.RawInstruction{
			Op: binary.LittleEndian.Uint16(p), Jt: p[2], Jf: p[3], K: binary.LittleEndian.Uint32(p[4:]),
		})
	}
	code, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the program has an unknown instruction")
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offsetNumber:], nr)
	binary.BigEndian.PutUint32(data[offsetArch:], auditArch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offsetArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[offsetArgs+8*i+4:], uint32(a>>32))
	}
	v, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(v)
}

const (
	x86_64 = 0xc000003e
	i386   = 0x40000003
	arm64  = 0xc00000b7
)

func TestActions(t *testing.T) {
	program, err := Compile(&specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno,
		Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32},
		Syscalls: []specs.LinuxSyscall{
			{Names: []string{"read", "write", "no_such_call"}, Action: specs.ActAllow},
			{Names: []string{"clone"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 0x7e020000, Op: specs.OpMaskedEqual}}},
			{Names: []string{"socket"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 1, Op: specs.OpEqualTo}, {Index: 0, Value: 2, Op: specs.OpEqualTo}}},
			{Names: []string{"ioctl"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 4, Op: specs.OpEqualTo}}},
			{Names: []string{"ioctl"}, Action: specs.ActErrno, ErrnoRet: u(7)},
			{Names: []string{"ioctl"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 5, Op: specs.OpEqualTo}}},
			{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: u(38)},
			{Names: []string{"personality"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 0xffffffff, Op: specs.OpEqualTo}}},
			{Names: []string{"personality"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 8, Op: specs.OpEqualTo}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		arch uint32
		nr   uint32
		args []uint64
		want uint32
	}{
		{"read", x86_64, 0, nil, retAllow},
		{"write", x86_64, 1, nil, retAllow},
		{"open is not named", x86_64, 2, nil, retErrno | 1},
		{"i386 read", i386, 3, nil, retAllow},
		{"i386 number 0", i386, 0, nil, retErrno | 1},
		{"clone plain", x86_64, 56, []uint64{0x11}, retAllow},
		{"clone with CLONE_NEWUSER", x86_64, 56, []uint64{0x10000000}, retErrno | 1},
		{"clone3", x86_64, 435, nil, retErrno | 38},
		{"newer than all that is named", x86_64, 450, nil, retErrno | 38},
		{"personality 8", x86_64, 135, []uint64{8}, retAllow},
		{"personality query", x86_64, 135, []uint64{0xffffffff}, retAllow},
		{"personality, high half differs", x86_64, 135, []uint64{1<<32 | 8}, retErrno | 1},
		{"x32 read", x86_64, x32Bit, nil, retAllow},
		{"x32 open is not named", x86_64, x32Bit | 2, nil, retErrno | 1},
		{"two conditions on one argument, the first", x86_64, 41, []uint64{1}, retAllow},
		{"two conditions on one argument, the second", x86_64, 41, []uint64{2}, retAllow},
		{"two conditions on one argument, none", x86_64, 41, []uint64{3}, retErrno | 1},
		{"an unconditional rule after a conditional one", x86_64, 16, []uint64{3}, retErrno | 7},
		{"a rule after an unconditional one", x86_64, 16, []uint64{5}, retErrno | 7},
		{"an architecture that is not listed", arm64, 63, nil, retKillProcess},
	} {
		if got := run(t, program, c.arch, c.nr, c.args...); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
}

// System calls that end alike and lie side by side take one comparison.
func TestSpans(t *testing.T) {
	names := []string{"read", "write", "open", "close", "stat", "fstat", "lstat", "poll", "lseek", "mmap"} // 0 to 9
	program, err := Compile(&specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno,
		Architectures: []specs.Arch{specs.ArchX86_64},
		Syscalls:      []specs.LinuxSyscall{{Names: names[:5], Action: specs.ActAllow}, {Names: names[6:], Action: specs.ActAllow}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for nr := range uint32(len(names)) {
		want := uint32(retAllow)
		if nr == 5 {
			want = retErrno | 1
		}
		if got := run(t, program, x86_64, nr); got != want {
			t.Errorf("system call %d: %#x, want %#x", nr, got, want)
		}
	}
	// The architecture and the ABI take eight; then allowed, refused, allowed
	// and unknown numbers have a return each, and three comparisons between them.
	if n := len(program) / 8; n != 15 {
		t.Errorf("%d instructions, want 15", n)
	}
}

// An x32 call is killed where the profile does not list that ABI.
func TestWithoutX32(t *testing.T) {
	program, err := Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64}})
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, program, x86_64, x32Bit); got != retKillProcess {
		t.Errorf("x32 read: %#x", got)
	}
	if got := run(t, program, x86_64, 0); got != retAllow {
		t.Errorf("read: %#x", got)
	}
	if got := run(t, program, x86_64, 9999); got != retAllow {
		t.Errorf("a number that nobody knows: %#x", got)
	}
}

// Program's rules depend on capabilities, and a profile may come as text.
// A name that x32 has two numbers for is both, whichever a table finds first.
func TestTwoNumbers(t *testing.T) {
	program, err := Compile(&specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX32},
		Syscalls: []specs.LinuxSyscall{{Names: []string{"ioctl", "readv"}, Action: specs.ActAllow}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for nr, want := range map[uint32]uint32{16: retAllow, 514: retAllow, 19: retAllow, 515: retAllow, 20: retErrno | 1} {
		if got := run(t, program, x86_64, x32Bit|nr); got != want {
			t.Errorf("x32's %d: %#x, want %#x", nr, got, want)
		}
	}
	if got := run(t, program, x86_64, 514); got == retAllow {
		t.Error("x86_64's 514 is x32's ioctl")
	}
}

func TestProgram(t *testing.T) {
	const mount = 165
	plain, err := Program("", []string{"CAP_CHOWN"})
	if err != nil {
		t.Fatal(err)
	}
	admin, err := Program("", []string{"CAP_SYS_ADMIN", "CAP_CHOWN"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := Program(`{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],"syscalls":[{"names":["mount"],"action":"SCMP_ACT_ERRNO","errnoRet":5}]}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, plain, x86_64, mount); got != retErrno|1 {
		t.Errorf("mount without CAP_SYS_ADMIN: %#x", got)
	}
	if got := run(t, admin, x86_64, mount); got != retAllow {
		t.Errorf("mount with CAP_SYS_ADMIN: %#x", got)
	}
	if got := run(t, text, x86_64, mount); got != retErrno|5 {
		t.Errorf("mount with a profile of one's own: %#x", got)
	}
	for _, bad := range []string{"{", `{"defaultAction":"SCMP_ACT_NONSENSE","syscalls":[]}`} {
		if _, err := Program(bad, nil); err == nil {
			t.Errorf("profile %q was accepted", bad)
		}
	}
}

// Every operator, against Go's own comparison.
func TestOperators(t *testing.T) {
	compare := map[specs.LinuxSeccompOperator]func(arg, v, v2 uint64) bool{
		specs.OpEqualTo:      func(a, v, _ uint64) bool { return a == v },
		specs.OpNotEqual:     func(a, v, _ uint64) bool { return a != v },
		specs.OpLessThan:     func(a, v, _ uint64) bool { return a < v },
		specs.OpLessEqual:    func(a, v, _ uint64) bool { return a <= v },
		specs.OpGreaterThan:  func(a, v, _ uint64) bool { return a > v },
		specs.OpGreaterEqual: func(a, v, _ uint64) bool { return a >= v },
		specs.OpMaskedEqual:  func(a, v, v2 uint64) bool { return a&v == v2 },
	}
	near := rapid.Custom(func(t *rapid.T) uint64 { // halves that meet often
		half := rapid.SampledFrom([]uint64{0, 1, 2, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff})
		return half.Draw(t, "high")<<32 | half.Draw(t, "low")
	})
	rapid.Check(t, func(t *rapid.T) {
		op := rapid.SampledFrom([]specs.LinuxSeccompOperator{specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpGreaterThan, specs.OpGreaterEqual, specs.OpMaskedEqual}).Draw(t, "op")
		index := rapid.UintRange(0, 5).Draw(t, "index")
		arg, v, v2 := near.Draw(t, "arg"), near.Draw(t, "v"), near.Draw(t, "v2")
		program, err := Compile(&specs.LinuxSeccomp{
			DefaultAction: specs.ActErrno,
			Architectures: []specs.Arch{specs.ArchX86_64},
			Syscalls:      []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: index, Value: v, ValueTwo: v2, Op: op}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		args := make([]uint64, 6)
		args[index] = arg
		want := uint32(retErrno | 1)
		if compare[op](arg, v, v2) {
			want = retAllow
		}
		if got := run(t, program, x86_64, 0, args...); got != want {
			t.Fatalf("%#x %s %#x, %#x: %#x, want %#x", arg, op, v, v2, got, want)
		}
	})
}

// Docker's profile, in this kernel: a child that loads it does what it may and
// is refused what it may not.
func TestDefaultProfile(t *testing.T) {
	if os.Getenv("SECCOMP_CHILD") != "" {
		child()
		return
	}
	profile, err := mobyseccomp.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}})
	if err != nil {
		t.Fatal(err)
	}
	program, err := Compile(profile)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d instructions", len(program)/8)
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("no system call table for " + runtime.GOARCH)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestDefaultProfile$")
	cmd.Env = append(os.Environ(), "SECCOMP_CHILD=1")
	cmd.Stdin = bytes.NewReader(program)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := map[string]string{}
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ": "); ok {
			got[k] = v
		}
	}
	for call, want := range map[string]string{
		"getpid": "errno 0", "mount": "operation not permitted", "keyctl": "operation not permitted",
		"unshare": "operation not permitted", "newer": "function not implemented",
	} {
		if got[call] != want {
			t.Errorf("%s: %q, want %q", call, got[call], want)
		}
	}
	if t.Failed() {
		fmt.Println(string(out))
	}
}
