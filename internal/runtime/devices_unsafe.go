package runtime

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// On cgroup v2 the use of devices is restricted by a BPF program that is
// attached to the cgroup (cgroup-v2.rst, "Device controller").

// A deviceRule allows or denies; the last that matches decides. -1 is any.
type deviceRule struct {
	kind         uint32 // unix.BPF_DEVCG_DEV_*; 0: any
	major, minor int64
	access       uint32 // unix.BPF_DEVCG_ACC_*
	allow        bool
}

// deviceProgram lists the rules that v1's files would get.
func deviceProgram(linux *specs.Linux) ([]deviceRule, error) {
	var rules []deviceRule
	add := func(text string, allow bool) error {
		f := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ':' })
		if len(f) != 4 {
			return fmt.Errorf("cannot read the device rule %q", text)
		}
		r := deviceRule{kind: map[string]uint32{"c": unix.BPF_DEVCG_DEV_CHAR, "b": unix.BPF_DEVCG_DEV_BLOCK}[f[0]], major: -1, minor: -1, allow: allow}
		for i, to := range []*int64{&r.major, &r.minor} {
			if f[1+i] == "*" {
				continue
			}
			n, err := strconv.ParseUint(f[1+i], 10, 31)
			if err != nil {
				return fmt.Errorf("cannot read the device rule %q: %w", text, err)
			}
			*to = int64(n)
		}
		for _, a := range f[3] {
			r.access |= map[rune]uint32{'m': unix.BPF_DEVCG_ACC_MKNOD, 'r': unix.BPF_DEVCG_ACC_READ, 'w': unix.BPF_DEVCG_ACC_WRITE}[a]
		}
		rules = append(rules, r)
		return nil
	}
	for _, r := range deviceRules {
		if err := add(r, true); err != nil {
			return nil, err
		}
	}
	for _, d := range linux.Devices {
		if d.Type == "p" {
			continue
		}
		if err := add(fmt.Sprintf("%s %d:%d rwm", strings.Replace(d.Type, "u", "c", 1), d.Major, d.Minor), true); err != nil {
			return nil, err
		}
	}
	if linux.Resources == nil {
		return rules, nil
	}
	for _, d := range linux.Resources.Devices {
		kind, access := d.Type, d.Access
		if kind == "" {
			kind = "a"
		}
		if kind == "a" && !d.Allow {
			continue // where this begins
		}
		if access == "" {
			access = "rwm"
		}
		if err := add(fmt.Sprintf("%s %s:%s %s", kind, wildcard(d.Major), wildcard(d.Minor), access), d.Allow); err != nil {
			return nil, err
		}
	}
	return rules, nil
}

// bpfInsn is struct bpf_insn.
type bpfInsn struct {
	code uint8
	regs uint8 // destination in the low half, source in the high one (little endian)
	off  int16
	imm  int32
}

// assemble turns rules into instructions: the last rule is tried first, and
// the first match returns.
//
//	r2 = type, r3 = access, r4 = major, r5 = minor of the request
func assemble(rules []deviceRule) []bpfInsn {
	const (
		ldxW  = unix.BPF_LDX | unix.BPF_W | unix.BPF_MEM
		movX  = unix.BPF_ALU | unix.BPF_MOV | unix.BPF_X
		mov64 = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K
		andK  = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
		rshK  = unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K
		jne   = unix.BPF_JMP | unix.BPF_JNE | unix.BPF_K
		jneX  = unix.BPF_JMP | unix.BPF_JNE | unix.BPF_X
		exit  = unix.BPF_JMP | unix.BPF_EXIT
	)
	reg := func(dst, src uint8) uint8 { return dst | src<<4 }
	prog := []bpfInsn{
		{code: ldxW, regs: reg(2, 1), off: 0}, // access << 16 | type
		{code: movX, regs: reg(3, 2)},
		{code: andK, regs: reg(2, 0), imm: 0xffff},
		{code: rshK, regs: reg(3, 0), imm: 16},
		{code: ldxW, regs: reg(4, 1), off: 4},
		{code: ldxW, regs: reg(5, 1), off: 8},
	}
	for i := len(rules) - 1; i >= 0; i-- {
		r := rules[i]
		var tests []bpfInsn
		if r.kind != 0 {
			tests = append(tests, bpfInsn{code: jne, regs: reg(2, 0), imm: int32(r.kind)})
		}
		if r.access != unix.BPF_DEVCG_ACC_MKNOD|unix.BPF_DEVCG_ACC_READ|unix.BPF_DEVCG_ACC_WRITE {
			// All that is asked for must be in the rule.
			tests = append(tests, bpfInsn{code: movX, regs: reg(1, 3)},
				bpfInsn{code: andK, regs: reg(1, 0), imm: int32(r.access)}, bpfInsn{code: jneX, regs: reg(1, 3)})
		}
		if r.major >= 0 {
			tests = append(tests, bpfInsn{code: jne, regs: reg(4, 0), imm: int32(r.major)})
		}
		if r.minor >= 0 {
			tests = append(tests, bpfInsn{code: jne, regs: reg(5, 0), imm: int32(r.minor)})
		}
		verdict := int32(0)
		if r.allow {
			verdict = 1
		}
		block := append(tests, bpfInsn{code: mov64, regs: reg(0, 0), imm: verdict}, bpfInsn{code: exit})
		for j := range block {
			if c := block[j].code; c == jne || c == jneX {
				block[j].off = int16(len(block) - j - 1) // to the next rule
			}
		}
		prog = append(prog, block...)
		if len(tests) == 0 {
			return prog // what comes before can not be reached, which the kernel refuses
		}
	}
	return append(prog, bpfInsn{code: mov64, regs: reg(0, 0), imm: 0}, bpfInsn{code: exit})
}

// attachDevices restricts the cgroup at dir. The program lives as long as the cgroup.
func attachDevices(dir string, rules []deviceRule) error {
	prog := assemble(rules)
	fd, err := loadDevices(prog, nil)
	if err != nil { // once more, to hear why: the verifier takes its time to write
		log := make([]byte, 16<<10)
		if fd, err = loadDevices(prog, log); err != nil {
			return fmt.Errorf("cannot load the device program: %w %s", err, unix.ByteSliceToString(log))
		}
	}
	defer unix.Close(fd)
	group, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("cannot open the cgroup: %w", err)
	}
	defer group.Close()
	attach := struct{ targetFD, progFD, attachType, flags uint32 }{uint32(group.Fd()), uint32(fd), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI}
	// SAFETY: attach has the layout of union bpf_attr and lives during the call.
	if _, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_ATTACH, uintptr(unsafe.Pointer(&attach)), unsafe.Sizeof(attach)); errno != 0 {
		return fmt.Errorf("cannot attach the device program: %w", errno)
	}
	return nil
}

// loadDevices loads a program; the kernel says in log, if there is one, what is
// wrong with it.
func loadDevices(prog []bpfInsn, log []byte) (int, error) {
	license := []byte("Apache-2.0\x00")
	// union bpf_attr for BPF_PROG_LOAD, linux/bpf.h
	load := struct {
		progType, insnCount        uint32
		insns, license             unsafe.Pointer
		logLevel, logSize          uint32
		logBuf                     unsafe.Pointer
		kernVersion, flags         uint32
		name                       [16]byte
		ifindex, expectedAttachTyp uint32
	}{
		progType: unix.BPF_PROG_TYPE_CGROUP_DEVICE, insnCount: uint32(len(prog)),
		insns: unsafe.Pointer(&prog[0]), license: unsafe.Pointer(&license[0]),
		expectedAttachTyp: unix.BPF_CGROUP_DEVICE,
	}
	copy(load.name[:], "abode_devices")
	if len(log) > 0 {
		load.logLevel, load.logSize, load.logBuf = 1, uint32(len(log)), unsafe.Pointer(&log[0])
	}
	// SAFETY: load has the kernel's layout; it and what it points to live
	// during the call, as in attachDevices.
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&load)), unsafe.Sizeof(load))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
