package reach

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// Calls are what filters let through, of the system calls that this
// architecture has.
type Calls struct {
	Total       int      `json:"total"`
	Allowed     int      `json:"allowed"`     // whatever the arguments
	Conditional []string `json:"conditional"` // some arguments pass, or a supervisor decides
	Blocked     []string `json:"blocked"`
	OtherABIs   []string `json:"otherABIs"` // by which calls pass too, if the kernel has them
}

// abi is a way to make system calls on one architecture.
type abi struct {
	name string
	arch uint32 // as AUDIT_ARCH_*, in linux/audit.h
	flag uint32 // in every number
}

// abis are the native one, then the others.
var abis = map[string][]abi{
	"amd64": {{"x86-64", 0xc000003e, 0}, {"i386", 0x40000003, 0}, {"x32", 0xc000003e, 1 << 30}},
	"arm64": {{"arm64", 0xc00000b7, 0}, {"arm", 0x40000028, 0}},
}

// otherNumbers are how many numbers of another ABI are tried.
const otherNumbers = 512

// Count tells what the filters of one process let through; none lets all.
func Count(filters []Filter) (*Calls, error) {
	ways := abis[runtime.GOARCH]
	if ways == nil {
		return nil, fmt.Errorf("the numbers of %s's system calls are not known here", runtime.GOARCH)
	}
	c := &Calls{Conditional: []string{}, Blocked: []string{}, OtherABIs: []string{}}
	for number, name := range names() {
		c.Total++
		switch through(filters, ways[0].arch, number) {
		case passes:
			c.Allowed++
		case stops:
			c.Blocked = append(c.Blocked, name)
		default:
			c.Conditional = append(c.Conditional, name)
		}
	}
	slices.Sort(c.Conditional)
	slices.Sort(c.Blocked)
	for _, other := range ways[1:] {
		for number := range uint32(otherNumbers) {
			if through(filters, other.arch, number|other.flag) != stops {
				c.OtherABIs = append(c.OtherABIs, other.name)
				break
			}
		}
	}
	return c, nil
}

// through is what becomes of a call: each filter judges it, and the strictest
// counts.
func through(filters []Filter, arch, number uint32) outcome {
	all := passes
	for _, f := range filters {
		o := f.judge(arch, number)
		if o == stops {
			return stops
		}
		all |= o
	}
	return all
}

// names reads the table of this architecture.
func names() map[uint32]string {
	table, next := map[uint32]string{}, uint32(0)
	for _, word := range strings.Fields(numbered) {
		if n, err := strconv.ParseUint(strings.TrimSuffix(word, ":"), 10, 32); err == nil {
			next = uint32(n)
			continue
		}
		table[next] = word
		next++
	}
	return table
}

// ErrNotAllowed is why filters cannot be read.
var ErrNotAllowed = errors.New("only root may read another process's seccomp filters, and not from inside a container: run this with sudo, on the host")
