package docker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	apinetwork "github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"
)

func volumeEndpoints() []feature {
	list := []feature{
		{name: "GET /volumes", prove: func(t *testing.T, _ wall) {
			makeVolume(t, "listed", map[string]string{"of": "list"})
			names := func(parameters string) []string {
				t.Helper()
				var r volume.ListResponse
				does(t, 200, &r, "GET", "/volumes"+parameters, nil)
				var names []string
				for _, v := range r.Volumes {
					names = append(names, v.Name)
				}
				return names
			}
			for _, c := range []struct{ term, yes, no string }{
				{"dangling", "true", "false"}, {"driver", "local", "nfs"}, {"label", "of=list", "of=other"}, {"name", "iste", "other"},
			} {
				equal(t, c.term+"="+c.yes, slices.Contains(names(filter(c.term, c.yes)), "listed"), true)
				equal(t, c.term+"="+c.no, slices.Contains(names(filter(c.term, c.no)), "listed"), false)
			}
			says(t, 400, "invalid filter 'lable'", "GET", "/volumes"+filter("lable", "x"), nil)
		}},
		{name: "POST /volumes/create", prove: func(t *testing.T, _ wall) {
			v := makeVolume(t, "created", map[string]string{"k": "v"})
			if v.Name != "created" || v.Driver != "local" || v.Scope != "local" || v.Mountpoint == "" || v.Labels["k"] != "v" || v.CreatedAt == "" {
				t.Errorf("%+v", v)
			}
			equal(t, "the length of a name that is chosen", len(makeVolume(t, "", nil).Name), 64)
			says(t, 404, `no volume driver is called "nfs": the only one is "local"`, "POST", "/volumes/create", map[string]any{"Driver": "nfs"})
			says(t, 501, "abode cannot give volumes options yet; a later version will. Mount what you need on the host and give the container its path",
				"POST", "/volumes/create", map[string]any{"DriverOpts": map[string]string{"type": "nfs"}})
		}},
		{name: "GET /volumes/{name}", prove: func(t *testing.T, _ wall) {
			makeVolume(t, "inspected", nil)
			var v volume.Volume
			does(t, 200, &v, "GET", "/volumes/inspected", nil)
			equal(t, "its name", v.Name, "inspected")
			says(t, 404, "get nosuch: no such volume", "GET", "/volumes/nosuch", nil)
		}},
		{name: "DELETE /volumes/{name}", prove: func(t *testing.T, _ wall) {
			makeVolume(t, "removed", nil)
			does(t, 204, nil, "DELETE", "/volumes/removed", nil)
			says(t, 404, "get removed: no such volume", "DELETE", "/volumes/removed", nil)
			b := walls[0].bench(t)
			equal(t, "status while one is used", ask(t, "DELETE", "/volumes/"+b.volume, nil).status, 409)
		}},
		{name: "POST /volumes/prune", prove: func(t *testing.T, _ wall) {
			named := makeVolume(t, "prunable", map[string]string{"prune": "yes"})
			anonymous := makeVolume(t, "", map[string]string{"prune": "yes"})
			prune := func(terms string) string {
				t.Helper()
				var r volume.PruneReport
				does(t, 200, &r, "POST", "/volumes/prune"+query("filters", terms), nil)
				return strings.Join(r.VolumesDeleted, " ")
			}
			equal(t, "label!", prune(`{"label":["prune=yes"],"label!":["prune"]}`), "")
			equal(t, "of those without a name", prune(`{"label":["prune=yes"]}`), anonymous.Name)
			equal(t, "of all", prune(`{"label":["prune=yes"],"all":["true"]}`), named.Name)
		}},
	}
	for i := range list {
		list[i].once = true
	}
	return list
}

func makeVolume(t testing.TB, name string, labels map[string]string) (v volume.Volume) {
	t.Helper()
	does(t, 201, &v, "POST", "/volumes/create", map[string]any{"Name": name, "Labels": labels})
	t.Cleanup(func() { call(t, "", "volume", "rm", "--force", v.Name) })
	return v
}

func networkEndpoints() []feature {
	connects := together(connects)
	list := []feature{
		{name: "GET /networks", once: true, prove: func(t *testing.T, _ wall) {
			n := makeNetwork(t, map[string]any{"Labels": map[string]string{"of": "list"}})
			names := func(parameters string) []string {
				t.Helper()
				var r []apinetwork.Summary
				does(t, 200, &r, "GET", "/networks"+parameters, nil)
				var names []string
				for _, v := range r {
					names = append(names, v.Name)
				}
				return names
			}
			for _, c := range []struct{ term, yes, no string }{
				{"dangling", "true", "false"}, {"driver", "bridge", "host"}, {"id", n.ID[:10], "ffffffff"}, {"label", "of=list", "of=other"},
				{"name", n.Name, "nobody"}, {"scope", "local", "swarm"}, {"type", "custom", "builtin"},
			} {
				equal(t, c.term+"="+c.yes, slices.Contains(names(filter(c.term, c.yes)), n.Name), true)
				equal(t, c.term+"="+c.no, slices.Contains(names(filter(c.term, c.no)), n.Name), false)
			}
			for _, builtin := range []string{"bridge", "host", "none"} {
				equal(t, builtin, slices.Contains(names(""), builtin), true)
			}
			says(t, 400, "invalid filter 'lable'", "GET", "/networks"+filter("lable", "x"), nil)
		}},
		{name: "POST /networks/create", once: true, prove: func(t *testing.T, _ wall) {
			n := makeNetwork(t, map[string]any{"Internal": true})
			says(t, 409, "network with name "+n.Name+" already exists", "POST", "/networks/create", map[string]any{"Name": n.Name})
			equal(t, "status of a driver that is not there", ask(t, "POST", "/networks/create", map[string]any{"Name": "other", "Driver": "overlay"}).status, 404)
		}},
		{name: "GET /networks/{id}", prove: func(t *testing.T, w wall) {
			b := w.bench(t)
			var n apinetwork.Inspect
			does(t, 200, &n, "GET", "/networks/bridge"+query("verbose", "1"), nil)
			if ep := n.Containers[b.id]; ep.Name != b.name || !ep.IPv4Address.IsValid() {
				t.Errorf("of the container, it has %+v", ep)
			}
			says(t, 404, "network nosuch not found", "GET", "/networks/nosuch", nil)
		}},
		{name: "DELETE /networks/{id}", once: true, prove: func(t *testing.T, _ wall) {
			n := makeNetwork(t, nil)
			does(t, 204, nil, "DELETE", "/networks/"+n.ID, nil)
			says(t, 404, "network "+n.ID+" not found", "DELETE", "/networks/"+n.ID, nil)
			says(t, 403, "bridge is a pre-defined network and cannot be removed", "DELETE", "/networks/bridge", nil)
		}},
		{name: "POST /networks/{id}/connect", prove: connects},
		{name: "POST /networks/{id}/disconnect", prove: connects},
		{name: "POST /networks/prune", once: true, prove: func(t *testing.T, _ wall) {
			n := makeNetwork(t, map[string]any{"Labels": map[string]string{"prune": "yes"}})
			var r apinetwork.PruneReport
			does(t, 200, &r, "POST", "/networks/prune"+query("filters", `{"label":["prune=yes"],"label!":["prune=yes"]}`), nil)
			equal(t, "label!", len(r.NetworksDeleted), 0)
			does(t, 200, &r, "POST", "/networks/prune"+filter("label", "prune=yes"), nil)
			equal(t, "label", strings.Join(r.NetworksDeleted, " "), n.Name)
		}},
	}
	return list
}

func makeNetwork(t testing.TB, with map[string]any) (n apinetwork.Inspect) {
	t.Helper()
	names.Lock()
	names.n++
	body := map[string]any{"Name": fmt.Sprintf("made-%d", names.n)}
	names.Unlock()
	maps.Copy(body, with)
	var made apinetwork.CreateResponse
	does(t, 201, &made, "POST", "/networks/create", body)
	t.Cleanup(func() { ask(t, "DELETE", "/networks/"+made.ID, nil) })
	does(t, 200, &n, "GET", "/networks/"+made.ID, nil)
	return n
}

// connects puts a container into a network and takes it out again.
func connects(t *testing.T, w wall) {
	n := makeNetwork(t, nil)
	id := w.create(t, nil, "true")
	in := func() string {
		t.Helper()
		return cli(t, "inspect", "--format", "{{range $n, $_ := .NetworkSettings.Networks}}{{$n}} {{end}}", id)
	}
	does(t, 200, nil, "POST", "/networks/bridge/disconnect", map[string]any{"Container": id})
	does(t, 200, nil, "POST", "/networks/"+n.ID+"/connect", map[string]any{"Container": id, "EndpointConfig": map[string]any{"Aliases": []string{"other"}}})
	equal(t, "its networks", in(), n.Name+" ")
	does(t, 200, nil, "POST", "/networks/"+n.ID+"/disconnect", map[string]any{"Container": id})
	if left := in(); strings.Contains(left, n.Name) {
		t.Errorf("its networks after it: %s", left)
	}
	running := w.script(t, "sleep 1000")
	links := func() string {
		t.Helper()
		return strings.Join(strings.Fields(cli(t, "exec", running, "ls", "/sys/class/net")), " ")
	}
	equal(t, "the links", links(), "eth0 lo")
	does(t, 200, nil, "POST", "/networks/"+n.ID+"/connect", map[string]any{"Container": running})
	equal(t, "the links when it is connected", links(), "eth0 eth1 lo")
	does(t, 200, nil, "POST", "/networks/"+n.ID+"/disconnect", map[string]any{"Container": running})
	equal(t, "the links after it", links(), "eth0 lo")
	for _, verb := range []string{"connect", "disconnect"} {
		says(t, 404, "network nosuch not found", "POST", "/networks/nosuch/"+verb, map[string]any{"Container": id})
		noContainer(t, "POST", "/networks/"+n.ID+"/"+verb, map[string]any{"Container": "nosuch"})
	}
}
