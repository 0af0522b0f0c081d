package reach

import "golang.org/x/sys/unix"

// Filter is a seccomp filter as it was installed: a program of classic BPF.
type Filter []unix.SockFilter

// outcome is a set of what may become of a system call.
type outcome uint8

const (
	passes outcome = 1 << iota
	stops
	asks     // a supervisor or a tracer decides
	anything = passes | stops | asks
)

// mostStates is how far a program is followed for one call. What containers
// have needs less than a hundredth.
const mostStates = 1 << 15

// judge runs the program for a call with any arguments: where a jump hangs on
// them, it goes both ways. A program that cannot be followed may do anything.
func (f Filter) judge(arch, number uint32) (all outcome) {
	seen := map[state]bool{}
	for todo := []state{{}}; len(todo) > 0; {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for {
			if s.pc >= len(f) || len(seen) > mostStates {
				return anything
			}
			in := f[s.pc]
			if in.Code&0x07 == unix.BPF_RET {
				all |= s.result(in)
				break
			}
			if in.Code&0x07 != unix.BPF_JMP {
				if !s.step(in, arch, number) {
					return anything
				}
				s.pc++
				continue
			}
			if seen[s] {
				break
			}
			seen[s] = true
			yes, no, known := s.jump(in)
			if !known {
				other := s
				other.pc += 1 + no
				todo = append(todo, other)
			}
			s.pc += 1 + yes
		}
	}
	return all
}

// result is what a return instruction means.
func (s *state) result(in unix.SockFilter) outcome {
	value := word{in.K, true}
	if in.Code&0x18 == unix.BPF_A {
		value = s.a
	}
	if !value.known {
		return anything
	}
	switch value.v & unix.SECCOMP_RET_ACTION_FULL {
	case unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_LOG:
		return passes
	case unix.SECCOMP_RET_TRACE, unix.SECCOMP_RET_USER_NOTIF:
		return asks
	default: // an error, a signal or death, which is also what the kernel takes for an action that it doesn't know
		return stops
	}
}
