// Package seccomp compiles a seccomp profile, as the OCI runtime specification
// words it, into the classic BPF program that seccomp(2) takes.
//
// The daemon compiles, because it knows the profile; the agent only loads the
// bytes, so that it needs neither parser nor system call tables.
package seccomp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/elastic/go-seccomp-bpf/arch"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxProgram is what the kernel takes (BPF_MAXINSNS).
const maxProgram = 4096

// Offsets in struct seccomp_data (linux/seccomp.h).
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

// x32Bit marks the numbers of the x32 ABI, which shares its AUDIT_ARCH with x86_64.
const x32Bit = 0x40000000

// Return values of a filter (linux/seccomp.h).
const (
	retKillProcess = 0x80000000
	retKillThread  = 0x00000000
	retTrap        = 0x00030000
	retErrno       = 0x00050000
	retTrace       = 0x7ff00000
	retLog         = 0x7ffc0000
	retAllow       = 0x7fff0000
)

// Compile returns the program of a profile as struct sock_filter entries in
// little-endian order, which is native on every architecture that Abode builds
// for. A system call that is newer than all that the profile names returns
// ENOSYS, so that a C library falls back to an older one. An architecture that
// the profile does not list is killed. System calls of unknown names are passed over.
func Compile(profile *specs.LinuxSeccomp) ([]byte, error) {
	if len(profile.Flags) > 0 || profile.ListenerPath != "" {
		return nil, errors.New("cannot compile the seccomp profile: flags and listeners are not supported; leave them out")
	}
	fallback, err := action(profile.DefaultAction, profile.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	program := []instruction{load(offsetArch)}
	for _, a := range profile.Architectures {
		info := architectures[a]
		if info == nil {
			continue
		}
		numbers, err := compileArch(profile, info, fallback)
		if err != nil {
			return nil, err
		}
		section := []instruction{load(offsetNumber)}
		if info == arch.X86_64 {
			x32 := []instruction{ret(retKillProcess)}
			if slices.Contains(profile.Architectures, specs.ArchX32) {
				if x32, err = compileArch(profile, arch.X32, fallback); err != nil {
					return nil, err
				}
			}
			section = append(section,
				instruction{code: jumpGreaterEqual, k: x32Bit, jf: 1},
				instruction{code: jumpAlways, k: uint32(len(numbers))})
			section = append(section, numbers...)
			numbers = x32
		}
		section = append(section, numbers...)
		// The section is longer than a conditional jump reaches.
		program = append(program,
			instruction{code: jumpEqual, k: uint32(info.ID), jt: 1},
			instruction{code: jumpAlways, k: uint32(len(section))})
		program = append(program, section...)
	}
	if len(program) == 1 {
		return nil, fmt.Errorf("cannot compile the seccomp profile: none of its architectures %v is known", profile.Architectures)
	}
	program = append(program, ret(retKillProcess))
	if len(program) > maxProgram {
		return nil, fmt.Errorf("cannot compile the seccomp profile: %d instructions, the kernel takes %d", len(program), maxProgram)
	}
	out := make([]byte, 0, 8*len(program))
	for _, in := range program {
		out = binary.LittleEndian.AppendUint16(out, in.code)
		out = append(out, in.jt, in.jf)
		out = binary.LittleEndian.AppendUint32(out, in.k)
	}
	return out, nil
}

// architectures names the ones that have a system call table here. x32 shares
// x86_64's section.
var architectures = map[specs.Arch]*arch.Info{
	specs.ArchX86_64:  arch.X86_64,
	specs.ArchX86:     arch.I386,
	specs.ArchAARCH64: arch.AARCH64,
	specs.ArchARM:     arch.ARM,
}

// action returns a filter's return value.
func action(a specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	switch a {
	case specs.ActAllow:
		return retAllow, nil
	case specs.ActErrno, specs.ActTrace:
		value := uint32(unix.EPERM)
		if errno != nil {
			value = uint32(*errno) & 0xffff
		}
		if a == specs.ActTrace {
			return retTrace | value, nil
		}
		return retErrno | value, nil
	case specs.ActKill, specs.ActKillThread:
		return retKillThread, nil
	case specs.ActKillProcess:
		return retKillProcess, nil
	case specs.ActTrap:
		return retTrap, nil
	case specs.ActLog:
		return retLog, nil
	}
	return 0, fmt.Errorf("cannot compile the seccomp profile: the action %q is not supported", a)
}
