package docker

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/system"
)

func systemEndpoints() []feature {
	return []feature{
		{name: "GET /_ping", once: true, prove: ping},
		{name: "HEAD /_ping", once: true, prove: ping},
		{name: "GET /version", once: true, prove: func(t *testing.T, _ wall) {
			var v system.VersionResponse
			does(t, 200, &v, "GET", "/version", nil)
			if v.APIVersion != newest || v.MinAPIVersion != "1.24" || v.Os != "linux" || v.KernelVersion == "" || len(v.Components) == 0 {
				t.Errorf("%+v", v)
			}
			// Any version that is served can be asked for.
			for minor := 24; fmt.Sprintf("1.%d", minor) != newest; minor++ {
				does(t, 200, &v, "GET", fmt.Sprintf("/v1.%d/version", minor), nil)
			}
			says(t, 400, "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version", "GET", "/v1.23/version", nil)
			says(t, 400, "client version 1.99 is too new. Maximum supported API version is "+newest, "GET", "/v1.99/version", nil)
			says(t, 404, "page not found", "GET", "/nosuch", nil)
			says(t, 404, "page not found", "PATCH", "/version", nil)
		}},
		{name: "GET /info", prove: func(t *testing.T, w wall) {
			w.bench(t)
			var i system.Info
			does(t, 200, &i, "GET", "/info", nil)
			if i.ContainersRunning < 1 || i.Containers < i.ContainersRunning || i.Images < 1 || i.NCPU < 1 || i.MemTotal < 1 || i.ID == "" || i.DockerRootDir == "" || i.Swarm.LocalNodeState != "inactive" {
				t.Errorf("%+v", i)
			}
		}},
		{name: "GET /events", prove: eventsOf, note: "all filters, of `--filter` too"},
		{name: "GET /system/df", prove: func(t *testing.T, w wall) {
			b := w.bench(t)
			var du system.DiskUsage
			does(t, 200, &du, "GET", "/system/df"+query("verbose", "1"), nil)
			if du.ImageUsage.TotalCount < 1 || du.ContainerUsage.ActiveCount < 1 || du.BuildCacheUsage == nil {
				t.Errorf("%+v", du)
			}
			found := false
			for _, v := range du.VolumeUsage.Items {
				found = found || v.Name == b.volume && v.UsageData.RefCount == 1
			}
			equal(t, "whether the volume is there and used", found, true)
			du = system.DiskUsage{}
			does(t, 200, &du, "GET", "/system/df"+query("type", "volume"), nil)
			equal(t, "what there is of volumes alone", du.ImageUsage == nil && du.ContainerUsage == nil && du.VolumeUsage.Items == nil && du.VolumeUsage.TotalCount > 0, true)
			says(t, 400, "unknown object type: nosuch", "GET", "/system/df"+query("type", "nosuch"), nil)
			var old struct{ Images, Containers, Volumes []any }
			does(t, 200, &old, "GET", "/v1.41/system/df", nil)
			equal(t, "the lists of version 1.41", len(old.Images) > 0 && len(old.Containers) > 0 && len(old.Volumes) > 0, true)
		}},
	}
}

// newest is the version of the definition that go.mod names.
const newest = "1.56"

func ping(t *testing.T, _ wall) {
	for method, body := range map[string]string{"GET": "OK", "HEAD": ""} {
		a := does(t, 200, nil, method, "/_ping", nil)
		equal(t, "the body", a.body, body)
		for name, want := range map[string]string{"Api-Version": newest, "Ostype": "linux", "Builder-Version": "1", "Swarm": "inactive", "Docker-Experimental": "false"} {
			equal(t, name, a.header.Get(name), want)
		}
	}
}

func eventsOf(t *testing.T, w wall) {
	stream := request(t, "GET", "/events"+filter("label", "events="+string(w)), nil)
	defer stream.Body.Close()
	before := time.Now()
	id := w.create(t, map[string]any{"Labels": map[string]string{"events": string(w)}}, "true")
	start(t, id)
	ended(t, id)
	lines := bufio.NewScanner(stream.Body)
	var seen []string
	for len(seen) < 3 && lines.Scan() {
		var m events.Message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		if m.Actor.ID != id || m.Type != "container" || m.Scope != "local" || m.Actor.Attributes["image"] != "busybox" {
			t.Errorf("%+v", m)
		}
		seen = append(seen, string(m.Action))
	}
	equal(t, "the events as they come", strings.Join(seen, " "), "create start die")

	past := func(terms string) string {
		t.Helper()
		a := does(t, 200, nil, "GET", "/events"+query("since", fmt.Sprint(before.Unix()), "until", fmt.Sprint(time.Now().Unix()+1), "filters", terms), nil)
		var actions []string
		for l := range strings.Lines(a.body) {
			var m events.Message
			read(t, l, &m)
			actions = append(actions, string(m.Action))
		}
		return strings.Join(actions, " ")
	}
	equal(t, "container and event", past(fmt.Sprintf(`{"container":[%q],"event":["die"]}`, id)), "die")
	equal(t, "type and image", past(fmt.Sprintf(`{"label":["events=%s"],"type":["container"],"image":["busybox"]}`, w)), "create start die")
	equal(t, "another type", past(fmt.Sprintf(`{"label":["events=%s"],"type":["volume"]}`, w)), "")
	says(t, 400, "invalid filter 'lable'", "GET", "/events"+filter("lable", "x"), nil)
	says(t, 400, "`since` must be before `until`", "GET", "/events"+query("since", "20", "until", "10"), nil)
}
