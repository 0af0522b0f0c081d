package api

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"
)

// fields marshals v and returns what the path of names leads to.
func fields(t *testing.T, v any, path ...string) any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range path {
		m, ok := got.(map[string]any)
		if !ok {
			t.Fatalf("no %s in %s", name, b)
		}
		got = m[name]
	}
	return got
}

func TestOldInspect(t *testing.T) {
	c := container.InspectResponse{ID: "x", NetworkSettings: &container.NetworkSettings{
		SandboxID: "s",
		Ports:     network.PortMap{network.MustParsePort("80/tcp"): []network.PortBinding{{HostIP: netip.MustParseAddr("0.0.0.0"), HostPort: "8080"}}},
		Networks: map[string]*network.EndpointSettings{
			"bridge": {IPAddress: netip.MustParseAddr("10.1.2.3"), IPPrefixLen: 24, Gateway: netip.MustParseAddr("10.1.2.1"), MacAddress: network.HardwareAddr{2, 0, 0, 0, 0, 1}},
		},
	}}
	old := oldInspect(c)
	for name, want := range map[string]any{
		"IPAddress": "10.1.2.3", "IPPrefixLen": 24.0, "Gateway": "10.1.2.1", "MacAddress": "02:00:00:00:00:01",
		"IPv6Gateway": "", "GlobalIPv6Address": "", "SandboxID": "s",
	} {
		if got := fields(t, old, "NetworkSettings", name); got != want {
			t.Errorf("NetworkSettings.%s is %v, want %v", name, got, want)
		}
	}
	if got := fields(t, old, "NetworkSettings", "Networks", "bridge", "IPAddress"); got != "10.1.2.3" {
		t.Errorf("the network's address is %v", got)
	}
	if got := fields(t, old, "Id"); got != "x" {
		t.Errorf("Id is %v", got)
	}
	if got := fields(t, oldInspect(container.InspectResponse{ID: "y"}), "NetworkSettings"); got != nil {
		t.Errorf("without network settings: %v", got)
	}
}

func TestOldEvent(t *testing.T) {
	m := events.Message{Type: events.ContainerEventType, Action: events.ActionStart, TimeNano: 7,
		Actor: events.Actor{ID: "c", Attributes: map[string]string{"image": "i:1"}}}
	old := oldEvent(m)
	for name, want := range map[string]any{"status": "start", "id": "c", "from": "i:1", "Action": "start", "Type": "container", "timeNano": 7.0} {
		if got := fields(t, old, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	m.Type = events.VolumeEventType
	if got := fields(t, oldEvent(m), "status"); got != nil {
		t.Errorf("a volume's event has the status %v", got)
	}
}
