package compare

import (
	"slices"
	"strings"
	"testing"

	"github.com/abode-run/abode/internal/compare/reach"
)

const probed = `Name:	cat
CapEff:	00000000a80425fb
Seccomp:	2
Seccomp_filters:	1
         0 1603403776      65536
6.1.0-56-cloud-amd64
01234567-89ab-cdef-0123-456789abcdef
`

func TestParseProbe(t *testing.T) {
	in, complete := parseProbe(probed)
	if !complete || in.bootID != "01234567-89ab-cdef-0123-456789abcdef" || in.Release != "6.1.0-56-cloud-amd64" || in.Seccomp != "filter" {
		t.Errorf("%+v %v", in, complete)
	}
	if len(in.Capabilities) != 14 || !slices.Contains(in.Capabilities, "net_raw") || slices.Contains(in.Capabilities, "sys_admin") {
		t.Errorf("capabilities %q", in.Capabilities)
	}
	if id, known := in.root(); !known || id != 1603403776 {
		t.Errorf("root is %d %v", id, known)
	}
	for _, text := range []string{"", "cat: not found\n", probed[:len(probed)-20], strings.Repeat("1 2 3\n", 1000), "\x00\xff:\t\n"} {
		if in, complete := parseProbe(text); complete || len(in.UserMap) > 16 {
			t.Errorf("%.20q is complete: %+v", text, in)
		}
	}
}

func TestCapabilities(t *testing.T) {
	for mask, want := range map[string]int{"0": 0, "1ffffffffff": 41, "ffffffffffffffff": 64, "nonsense": 0} {
		if got := capabilities(mask); len(got) != want || (got == nil) != (mask == "nonsense") {
			t.Errorf("%s: %q", mask, got)
		}
	}
}

func TestFactsInWords(t *testing.T) {
	uid := 7
	for _, c := range []struct {
		f    Facts
		want string // of each line
	}{
		{Facts{}, "not measured|not measured|not measured|not measured|not measured|not measured|not measured"},
		{Facts{Kernel: kernelShared, Release: "6.1", Namespaces: []string{"mnt", "pid"}, Capabilities: []string{"chown"}, Seccomp: "filter", UserMap: []string{"0 5000 65536"}, Calls: &reach.Calls{Total: 9, Allowed: 3, Conditional: []string{"a", "b"}}},
			"the host's 6.1|mnt pid|1 of 41|a filter|3 of 9, 2 more in part|user 5000 of the host|none"},
		{Facts{Kernel: kernelShared, Namespaces: []string{}, Capabilities: capabilityNames, Seccomp: "off", UserMap: []string{"0 0 4294967295"}, Calls: &reach.Calls{Total: 9, Allowed: 9}},
			"the host's|none|all 41|off|all 9|root of the host|none"},
		{Facts{Kernel: kernelOwn, Release: "6.2", Capabilities: []string{}, UserMap: []string{"1 0 1"}, Hypervisor: &uid, HypervisorCalls: &reach.Calls{Total: 9, Allowed: 5}},
			"its own 6.2|all: nothing of the host's kernel is shared|none|not measured|none: its own kernel answers|nobody outside|user 7 of the host; system calls: 5 of 9"},
	} {
		var got []string
		for _, l := range c.f.lines() {
			got = append(got, l.text)
		}
		if strings.Join(got, "|") != c.want {
			t.Errorf("%+v: %q", c.f, got)
		}
	}
}
