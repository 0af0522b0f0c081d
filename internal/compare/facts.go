package compare

import (
	"fmt"
	"math/bits"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/abode-run/abode/internal/compare/reach"
)

// Facts are what a wall keeps apart, as far as it was found out.
type Facts struct {
	Kernel       string   `json:"kernel"`               // shared, own, or "" when it is not known
	Release      string   `json:"release"`              // of the kernel that the workload runs on
	Namespaces   []string `json:"namespaces"`           // that are not the host's
	Capabilities []string `json:"capabilities"`         // that the workload has; nil: not known
	Seccomp      string   `json:"seccomp"`              // off, strict or filter; "": not known
	UserMap      []string `json:"userMap"`              // lines of uid_map: first inside, first outside, count
	Hypervisor   *int     `json:"hypervisor,omitempty"` // the host's user that the hypervisor runs as

	// System calls of the host's kernel. A virtual machine's workload makes none;
	// its hypervisor does.
	Calls           *reach.Calls `json:"calls,omitempty"`
	HypervisorCalls *reach.Calls `json:"hypervisorCalls,omitempty"`
}

const (
	kernelShared = "shared"
	kernelOwn    = "own"
)

// inside is what the files of probeFiles said in the container.
type inside struct {
	Facts
	bootID string
}

// probeFiles are printed one after the other in the container; the last ends
// with a line that bootIDLine knows.
var probeFiles = []string{"/proc/self/status", "/proc/self/uid_map", "/proc/sys/kernel/osrelease", "/proc/sys/kernel/random/boot_id"}

// The command line has these too, for whose start they would take their time.
var (
	bootIDLine = pattern(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	idMapLine  = pattern(`^\s*(\d+)\s+(\d+)\s+(\d+)\s*$`)
	release    = pattern(`^[0-9][0-9A-Za-z._+~-]{0,63}$`)
)

func pattern(re string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(re) })
}

// parseProbe reads the output of the probe. What it says is a stranger's: only
// what has the right form is taken. It reports whether it was complete.
func parseProbe(text string) (in inside, complete bool) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		name, value, _ := strings.Cut(line, ":\t")
		switch {
		case name == "CapEff":
			in.Capabilities = capabilities(value)
		case name == "Seccomp":
			in.Seccomp = seccompMode(value)
		case idMapLine().MatchString(line):
			if len(in.UserMap) < 16 {
				in.UserMap = append(in.UserMap, strings.Join(strings.Fields(line), " "))
			}
		case bootIDLine().MatchString(line):
			in.bootID = line
			return in, true
		case release().MatchString(line):
			in.Release = line
		}
	}
	return in, false
}

func seccompMode(s string) string {
	return map[string]string{"0": "off", "1": "strict", "2": "filter"}[strings.TrimSpace(s)]
}

// capabilityNames are those of <linux/capability.h>, by number.
var capabilityNames = strings.Fields(`chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap
	linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot
	sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write
	audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore`)

// capabilities names those of a mask in hexadecimal; nil if it is none.
func capabilities(mask string) []string {
	v, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
	if err != nil {
		return nil
	}
	names := []string{}
	for v != 0 {
		n := bits.TrailingZeros64(v)
		v &= v - 1
		if n < len(capabilityNames) {
			names = append(names, capabilityNames[n])
		} else {
			names = append(names, strconv.Itoa(n))
		}
	}
	return names
}

// fact is a line of the table of isolation.
type fact struct{ title, text string }

// lines tells the facts in words.
func (f *Facts) lines() []fact {
	return []fact{
		{"kernel", f.kernelText()},
		{"own namespaces", f.namespacesText()},
		{"capabilities", f.capabilitiesText()},
		{"seccomp", orUnknown(map[string]string{"off": "off", "strict": "strict", "filter": "a filter"}[f.Seccomp])},
		{"host's system calls", f.callsText()},
		{"root inside", f.userText()},
		{"hypervisor", f.hypervisorText()},
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "not measured"
	}
	return s
}

func (f *Facts) kernelText() string {
	switch f.Kernel {
	case kernelShared:
		return strings.TrimSpace("the host's " + f.Release)
	case kernelOwn:
		if f.Release == "" {
			return "its own, as the engine says"
		}
		return "its own " + f.Release
	default:
		return orUnknown(f.Release)
	}
}

func (f *Facts) namespacesText() string {
	switch {
	case f.Kernel == kernelOwn:
		return "all: nothing of the host's kernel is shared"
	case f.Namespaces == nil:
		return "not measured"
	case len(f.Namespaces) == 0:
		return "none"
	default:
		return strings.Join(f.Namespaces, " ")
	}
}

func (f *Facts) capabilitiesText() string {
	where := ""
	if f.Kernel == kernelOwn {
		where = ", over its own kernel"
	}
	switch n := len(f.Capabilities); {
	case f.Capabilities == nil:
		return "not measured"
	case n == 0:
		return "none"
	case n >= len(capabilityNames):
		return fmt.Sprintf("all %d%s", n, where)
	default:
		return fmt.Sprintf("%d of %d%s", n, len(capabilityNames), where)
	}
}

// root is whom user 0 of the container is outside of it.
func (f *Facts) root() (id uint64, known bool) {
	for _, line := range f.UserMap {
		var in, out, n uint64
		if _, err := fmt.Sscan(line, &in, &out, &n); err == nil && in == 0 && n > 0 {
			return out, true
		}
	}
	return 0, false
}

func (f *Facts) userText() string {
	id, known := f.root()
	switch {
	case f.UserMap == nil:
		return "not measured"
	case !known:
		return "nobody outside"
	case f.Kernel == kernelOwn:
		return fmt.Sprintf("user %d of its own kernel", id)
	case id == 0:
		return "root of the host"
	default:
		return fmt.Sprintf("user %d of the host", id)
	}
}

func (f *Facts) hypervisorText() string {
	switch {
	case f.Kernel == kernelShared:
		return "none"
	case f.Hypervisor == nil:
		return "not measured"
	case f.HypervisorCalls == nil:
		return fmt.Sprintf("user %d of the host", *f.Hypervisor)
	default:
		return fmt.Sprintf("user %d of the host; system calls: %s", *f.Hypervisor, passText(f.HypervisorCalls))
	}
}

// callsText tells how many of the host's system calls the workload reaches.
func (f *Facts) callsText() string {
	switch {
	case f.Kernel == kernelOwn:
		return "none: its own kernel answers"
	case f.Calls == nil:
		return "not measured"
	default:
		return passText(f.Calls)
	}
}

func passText(c *reach.Calls) string {
	if c.Allowed == c.Total {
		return fmt.Sprintf("all %d", c.Total)
	}
	s := fmt.Sprintf("%d of %d", c.Allowed, c.Total)
	if n := len(c.Conditional); n > 0 {
		s += fmt.Sprintf(", %d more in part", n)
	}
	return s
}
