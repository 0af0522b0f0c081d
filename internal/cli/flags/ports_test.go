package flags

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/network"
)

// text makes "80/tcp=[127.0.0.1:8080]" of ports.
func text(set network.PortSet, bindings network.PortMap) []string {
	var out []string
	for p := range maps.Keys(set) {
		s := p.String()
		for _, b := range bindings[p] {
			ip := ""
			if b.HostIP.IsValid() {
				ip = b.HostIP.String()
			}
			s += " " + ip + ":" + b.HostPort
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

func TestPorts(t *testing.T) {
	for _, c := range []struct {
		publish, expose []string
		want            []string
	}{
		{[]string{"80"}, nil, []string{"80/tcp :"}},
		{[]string{"8080:80"}, nil, []string{"80/tcp :8080"}},
		{[]string{"8080:80/udp"}, nil, []string{"80/udp :8080"}},
		{[]string{"127.0.0.1:8080:80"}, nil, []string{"80/tcp 127.0.0.1:8080"}},
		{[]string{"127.0.0.1::80"}, nil, []string{"80/tcp 127.0.0.1:"}},
		{[]string{"[::1]:8080:80"}, nil, []string{"80/tcp ::1:8080"}},
		{[]string{"8080-8082:80-82"}, nil, []string{"80/tcp :8080", "81/tcp :8081", "82/tcp :8082"}},
		{[]string{"8000-9000:80"}, nil, []string{"80/tcp :8000-9000"}},
		{[]string{"8080:80", "8081:80"}, nil, []string{"80/tcp :8080 :8081"}},
		{[]string{"target=80,published=8080,protocol=udp"}, nil, []string{"80/udp :8080"}},
		{[]string{"target=80"}, nil, []string{"80/tcp :"}},
		{nil, []string{"80", "90-91/udp"}, []string{"80/tcp", "90/udp", "91/udp"}},
		{[]string{"8080:80"}, []string{"80"}, []string{"80/tcp :8080"}},
	} {
		set, bindings, err := Ports(c.publish, c.expose)
		if err != nil {
			t.Errorf("%q, %q: %v", c.publish, c.expose, err)
			continue
		}
		if d := cmp.Diff(c.want, text(set, bindings)); d != "" {
			t.Errorf("%q, %q: %s", c.publish, c.expose, d)
		}
	}
}

func TestPortsRefuses(t *testing.T) {
	for _, c := range []struct{ publish, expose, want string }{
		{"80:", "", "no port specified"},
		{"x:80", "", "invalid hostPort: x"},
		{"80:x", "", "invalid containerPort: x"},
		{"70000:80", "", "invalid hostPort"},
		{"80:80/icmp", "", "invalid proto: icmp"},
		{"localhost:80:80", "", "invalid IP address: localhost"},
		{"80-81:90-95", "", "invalid ranges specified"},
		{"published=80", "", "target is missing"},
		{"target=80,nope=1", "", `invalid field key "nope"`},
		{"", "80:80", "use -p to publish"},
		{"", "x", "invalid range format for --expose"},
	} {
		var publish, expose []string
		if c.publish != "" {
			publish = []string{c.publish}
		}
		if c.expose != "" {
			expose = []string{c.expose}
		}
		_, _, err := Ports(publish, expose)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %q: the error is %v, want %q", c.publish, c.expose, err, c.want)
		}
	}
}
