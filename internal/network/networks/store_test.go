package networks

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it asks the host for its links and locks their names")
	}
	s, err := Open(t.Context(), Config{Dir: filepath.Join(dir, "root"), Run: filepath.Join(dir, "run"), Bridge: "abnets0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func create(t *testing.T, s *Store, spec Spec) Network {
	t.Helper()
	n, err := s.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	subnet := netip.MustParsePrefix("10.231.7.0/24")
	a := create(t, s, Spec{Name: "a", Subnet: subnet, Labels: map[string]string{"x": "y"}, Internal: true})
	b := create(t, s, Spec{Name: "b"})
	six := create(t, s, Spec{Name: "six", IPv6: true, Subnet6: netip.MustParsePrefix("fd87:1:2:3::/64"), Range6: netip.MustParsePrefix("fd87:1:2:3::100/120")})
	chosen := create(t, s, Spec{Name: "chosen", IPv6: true})
	if six.Gateway6.String() != "fd87:1:2:3::1" || !six.Subnet.IsValid() || chosen.Subnet6.Bits() != 64 || !chosen.Subnet6.Contains(chosen.Gateway6) {
		t.Errorf("%+v, %+v", six, chosen)
	}
	if len(a.ID) != 64 || a.Gateway.String() != "10.231.7.1" || !b.Subnet.IsValid() || b.Subnet.Overlaps(subnet) || !b.Subnet.Contains(b.Gateway) {
		t.Errorf("%+v, %+v", a, b)
	}
	for _, c := range []struct {
		spec  Spec
		class error
		text  string
	}{
		{Spec{Name: "a"}, errdefs.ErrConflict, "network with name a already exists"},
		{Spec{Name: "bridge"}, errdefs.ErrPermissionDenied, "operation is not permitted on predefined bridge network"},
		{Spec{Name: ""}, errdefs.ErrInvalidArgument, "cannot be empty"},
		{Spec{Name: "../x"}, errdefs.ErrInvalidArgument, "invalid network name"},
		{Spec{Name: "c", Subnet: netip.MustParsePrefix("10.231.0.0/16")}, errdefs.ErrPermissionDenied, "Pool overlaps with other one on this address space"},
		{Spec{Name: "c", Subnet: netip.MustParsePrefix("10.232.0.1/16")}, errdefs.ErrInvalidArgument, "it should be 10.232.0.0/16"},
		{Spec{Name: "c", Subnet: netip.MustParsePrefix("10.232.0.0/30")}, errdefs.ErrInvalidArgument, "/8 to /29"},
		{Spec{Name: "c", Subnet: netip.MustParsePrefix("fd00::/64")}, errdefs.ErrInvalidArgument, "only IPv4"},
		{Spec{Name: "c", Gateway: netip.MustParseAddr("10.232.0.1")}, errdefs.ErrInvalidArgument, "--subnet"},
		{Spec{Name: "c", Subnet: netip.MustParsePrefix("10.232.0.0/24"), Gateway: netip.MustParseAddr("10.233.0.1")}, errdefs.ErrInvalidArgument, "doesn't contain this address"},
		{Spec{Name: "c", Subnet: netip.MustParsePrefix("10.232.0.0/24"), Gateway: netip.MustParseAddr("10.232.0.255")}, errdefs.ErrInvalidArgument, "10.232.0.255"},
		{Spec{Name: "c", IPv6: true, Subnet6: netip.MustParsePrefix("fd07:1:1::/32")}, errdefs.ErrInvalidArgument, "it should be fd07:1::/32"},
		{Spec{Name: "c", IPv6: true, Subnet6: netip.MustParsePrefix("fe80::/64")}, errdefs.ErrInvalidArgument, "not one for hosts"},
		{Spec{Name: "c", IPv6: true, Subnet6: netip.MustParsePrefix("::ffff:10.0.0.0/112")}, errdefs.ErrInvalidArgument, "not one for hosts"},
		{Spec{Name: "c", IPv6: true, Subnet6: netip.MustParsePrefix("fd07::/127")}, errdefs.ErrInvalidArgument, "/8 to /126"},
		{Spec{Name: "c", IPv6: true, Gateway6: netip.MustParseAddr("fd07::1")}, errdefs.ErrInvalidArgument, "--subnet"},
		{Spec{Name: "c", IPv6: true, Subnet6: netip.MustParsePrefix("fd07::/64"), Gateway6: netip.MustParseAddr("fd07::")}, errdefs.ErrInvalidArgument, "doesn't contain this address"},
		{Spec{Name: "c", IPv6: true, Subnet6: netip.MustParsePrefix("fd07::/64"), Range6: netip.MustParsePrefix("fd08::/80")}, errdefs.ErrInvalidArgument, "doesn't contain ip-range"},
		{Spec{Name: "c", IPv6: true, Subnet6: netip.MustParsePrefix("fd87:1:2::/48")}, errdefs.ErrPermissionDenied, "fd87:1:2::/48 overlaps fd87:1:2:3::/64"},
		{Spec{Name: "c", Subnet: netip.MustParsePrefix("10.232.0.0/24"), Range: netip.MustParsePrefix("10.232.0.0/16")}, errdefs.ErrInvalidArgument, "bigger than its parent subnet"},
		{Spec{Name: "c", Options: map[string]string{"com.docker.network.bridge.name": "br0"}}, errdefs.ErrInvalidArgument, "the engine names bridges"},
	} {
		if _, err := s.Create(t.Context(), c.spec); !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%+v: %v", c.spec, err)
		}
	}
	if n, err := s.Find(a.ID[:10]); err != nil || n.ID != a.ID {
		t.Errorf("by the beginning of its ID: %+v, %v", n, err)
	}

	// One that is used stays until it is left.
	if _, err := s.Use(a.ID, strings.Repeat("c", 64), "web"); err != nil {
		t.Fatal(err)
	}
	want := `error while removing network: network a has active endpoints (name:"web" id:"cccccccccccc")`
	if err := s.Remove(t.Context(), a.ID); !errors.Is(err, errdefs.ErrPermissionDenied) || err.Error() != want {
		t.Errorf("%v", err)
	}
	s.Leave(a.ID, strings.Repeat("c", 64))
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if err := s.Recover(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Find("a"); err != nil || n.Subnet != subnet || n.Labels["x"] != "y" || !n.Internal || !n.Created.Equal(a.Created) {
		t.Errorf("after a restart: %+v, %v", n, err)
	}

	if n, err := s.Find("six"); err != nil || !n.IPv6 || n.Subnet6 != six.Subnet6 || n.Gateway6 != six.Gateway6 || n.Range6 != six.Range6 {
		t.Errorf("after a restart: %+v, %v", n, err)
	}
	for _, n := range []Network{six, chosen} {
		if err := s.Remove(t.Context(), n.ID); err != nil {
			t.Error(err)
		}
	}

	// A removal that a crash cut short is finished.
	s.byID[b.ID].Removing = true
	if err := s.write(&s.byID[b.ID].Network); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if err := s.Recover(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if list := s.List(); len(list) != 1 || list[0].Name != "a" {
		t.Errorf("%+v", list)
	}
	if err := s.Remove(t.Context(), a.ID); err != nil {
		t.Error(err)
	}
	for _, left := range []string{"root", "run"} {
		if files, _ := os.ReadDir(filepath.Join(dir, left)); len(files) > 0 {
			t.Errorf("%s: %v is left", left, files)
		}
	}
	if _, err := s.Use(a.ID, "x", "x"); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("use of a network that is gone: %v", err)
	}
}
