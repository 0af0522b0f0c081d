package flags

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/moby/moby/api/types/network"
)

func TestNetworks(t *testing.T) {
	mac := network.HardwareAddr{2, 0x42, 0, 0, 0, 1}
	type settings = map[string]*network.EndpointSettings
	for _, c := range []struct {
		values []string
		first  Endpoint
		name   string
		want   settings
	}{
		{nil, Endpoint{}, "default", settings{}},
		{[]string{"host"}, Endpoint{}, "host", settings{}},
		{nil, Endpoint{IP: "10.0.0.9"}, "default", settings{"bridge": {IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr("10.0.0.9")}}}},
		{[]string{"a", "b"}, Endpoint{Aliases: []string{"x"}, MAC: mac.String()}, "a", settings{"a": {Aliases: []string{"x"}, MacAddress: mac}, "b": {}}},
		{[]string{"name=a,alias=x,alias=y,gw-priority=7,ip6=fd00::1"}, Endpoint{}, "a",
			settings{"a": {Aliases: []string{"x", "y"}, GwPriority: 7, IPAMConfig: &network.EndpointIPAMConfig{IPv6Address: netip.MustParseAddr("fd00::1")}}}},
	} {
		name, got, err := Networks(c.values, c.first)
		if err != nil || name != c.name {
			t.Errorf("%v: got %q, %v", c.values, name, err)
		}
		if d := cmp.Diff(c.want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%v: %s", c.values, d)
		}
	}
	for value, want := range map[string]string{
		"a=b": "invalid field key a", "alias=x": "name is not specified", "name=": "key=value", "name=a,ip=fd00::1": "for --ip",
		"name=a,ip6=1.2.3.4": "for --ip6", "name=a,mac-address=1": "MAC address", "name=a,gw-priority=x": "gw-priority", "name=a,b": "key=value",
	} {
		if _, _, err := Networks([]string{value}, Endpoint{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", value, err, want)
		}
	}
	if _, _, err := Networks([]string{"a", "name=a"}, Endpoint{}); err == nil || !strings.Contains(err.Error(), "multiple times") {
		t.Errorf("twice: got %v", err)
	}
}
