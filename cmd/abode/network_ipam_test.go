package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestIPAM(t *testing.T) {
	words := strings.Fields
	got, err := ipam(words("10.9.0.0/24 fd00:9::/64"), words("fd00:9::100/120"), words("fd00:9::9 10.9.0.9"))
	if err != nil {
		t.Fatal(err)
	}
	if s, want := fmt.Sprint(got.Config), "[{10.9.0.0/24 invalid Prefix 10.9.0.9 map[]} {fd00:9::/64 fd00:9::100/120 fd00:9::9 map[]}]"; s != want {
		t.Errorf("%s, want %s", s, want)
	}
	if got, err := ipam(nil, nil, nil); got != nil || err != nil {
		t.Errorf("nothing: %v, %v", got, err)
	}
	for _, c := range []struct{ subnets, ranges, gateways, want string }{
		{"", "", "10.9.0.1", "must have a corresponding subnet"},
		{"10.9.0.0/24", "", "10.9.0.1 10.9.0.2", "must have a corresponding subnet"},
		{"10.9.0.0/24 10.9.0.128/25", "", "", "multiple overlapping subnet configuration is not supported"},
		{"10.9.0.0/24 fd00::/64", "", "10.9.0.1 10.9.0.2", "cannot configure multiple gateways (10.9.0.2, 10.9.0.1) for the same subnet (10.9.0.0/24)"},
		{"10.9.0.0/24 fd00::/64", "fd00::/65 fd00::/66", "", "cannot configure multiple ranges (fd00::/66, fd00::/65) on the same subnet (fd00::/64)"},
		{"fd00::/64", "10.9.0.0/25", "", "no matching subnet for range 10.9.0.0/25"},
		{"fd00::/64", "", "fd01::1", "no matching subnet for gateway fd01::1"},
		{"fd00::", "", "", "invalid argument \"fd00::\" for --subnet"},
		{"fd00::/64", "x", "", "invalid argument \"x\" for --ip-range"},
		{"fd00::/64", "", "x", "invalid argument \"x\" for --gateway"},
	} {
		if _, err := ipam(words(c.subnets), words(c.ranges), words(c.gateways)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
