package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
)

// ports lists published and exposed ports as Docker does: those in a row, on
// one address, as a range.
func ports(list []container.PortSummary) string {
	slices.SortFunc(list, func(a, b container.PortSummary) int {
		if c := strings.Compare(a.Type, b.Type); c != 0 {
			return c
		}
		if c := a.IP.Compare(b.IP); c != 0 {
			return c
		}
		return int(a.PrivatePort) - int(b.PrivatePort)
	})
	var out []string
	for i := 0; i < len(list); {
		j := i + 1
		for ; j < len(list) && follows(list[i], list[j], j-i); j++ {
		}
		out = append(out, portRange(list[i], list[j-1]))
		i = j
	}
	return strings.Join(out, ", ")
}

func follows(first, p container.PortSummary, n int) bool {
	return p.Type == first.Type && p.IP == first.IP && int(p.PrivatePort) == int(first.PrivatePort)+n &&
		(p.PublicPort == 0) == (first.PublicPort == 0) &&
		(p.PublicPort == 0 || int(p.PublicPort) == int(first.PublicPort)+n)
}

func portRange(first, last container.PortSummary) string {
	span := func(a, b uint16) string {
		if a == b {
			return strconv.Itoa(int(a))
		}
		return fmt.Sprintf("%d-%d", a, b)
	}
	s := span(first.PrivatePort, last.PrivatePort) + "/" + first.Type
	if first.PublicPort == 0 {
		return s
	}
	return hostPort(first.IP, span(first.PublicPort, last.PublicPort)) + "->" + s
}

// hostPort joins an address and a port, with brackets around IPv6.
func hostPort(ip netip.Addr, port string) string {
	switch {
	case !ip.IsValid():
		return port
	case ip.Is6():
		return "[" + ip.String() + "]:" + port
	}
	return ip.String() + ":" + port
}
