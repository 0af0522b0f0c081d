package engine

import (
	"net/netip"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"
)

// The user IDs of a container that is removed are nobody's while one that has
// joined it may have processes with them.
func TestSharedOwners(t *testing.T) {
	r := newRegistry("")
	_, owner, err := r.reserve("donor", "donor")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.reserve("guest", "guest"); err != nil {
		t.Fatal(err)
	}
	r.share("guest", owner)
	r.forget("donor")
	if _, other, err := r.reserve("next", ""); err != nil || other == owner {
		t.Errorf("a container got %d, which another still has; error %v", other, err)
	}
	r.forget("guest")
	if _, other, err := r.reserve("last", ""); err != nil || other != owner {
		t.Errorf("got %d, want %d back; error %v", other, owner, err)
	}
	again := newRegistry("")
	c := &Container{id: "guest", rec: &record{Owner: owner + ownerSize}, st: status{Owner: owner}}
	again.adopt(c)
	if _, other, err := again.reserve("next", ""); err != nil || other == owner || other == owner+ownerSize {
		t.Errorf("after a restart of the engine a container got %d; error %v", other, err)
	}
}

// The words are Docker's (runconfig).
func TestJoinedNetworkConflicts(t *testing.T) {
	port := apinetwork.MustParsePort("80/tcp")
	mac := &apinetwork.NetworkingConfig{EndpointsConfig: map[string]*apinetwork.EndpointSettings{
		"container:x": {MacAddress: apinetwork.HardwareAddr{2, 0, 0, 0, 0, 1}},
	}}
	for want, c := range map[string]struct {
		c   container.Config
		h   container.HostConfig
		net *apinetwork.NetworkingConfig
	}{
		"conflicting options: hostname and the network mode":                                                            {c: container.Config{Hostname: "x"}},
		"conflicting options: container type network can't be used with links. This would result in undefined behavior": {h: container.HostConfig{Links: []string{"a:b"}}},
		"conflicting options: dns and the network mode":                                                                 {h: container.HostConfig{DNS: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}},
		"conflicting options: custom host-to-IP mapping and the network mode":                                           {h: container.HostConfig{ExtraHosts: []string{"a:192.0.2.1"}}},
		"conflicting options: mac-address and the network mode":                                                         {net: mac},
		"conflicting options: port publishing and the container type network mode":                                      {h: container.HostConfig{PublishAllPorts: true}},
		"conflicting options: port exposing and the container type network mode":                                        {c: container.Config{ExposedPorts: apinetwork.PortSet{port: {}}}},
	} {
		c.h.NetworkMode = "container:x"
		if err := checkJoinedNetwork(&c.c, &c.h, c.net); err == nil || err.Error() != want || !errdefs.IsInvalidArgument(err) {
			t.Errorf("got %v, want %s", err, want)
		}
		c.h.NetworkMode = "bridge"
		if err := checkJoinedNetwork(&c.c, &c.h, c.net); err != nil {
			t.Errorf("another network: %v", err)
		}
	}
}
