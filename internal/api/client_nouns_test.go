package api_test

import (
	"bytes"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func testSystem(t *testing.T, c *client.Client) {
	ctx := t.Context()
	p, err := c.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
	if err != nil || p.APIVersion != "1.56" || p.OSType != "linux" {
		t.Errorf("ping: %+v %v", p, err)
	}
	v, err := c.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil || v.APIVersion != "1.56" || v.MinAPIVersion != "1.24" || v.Os != "linux" || len(v.Components) == 0 {
		t.Errorf("version: %+v %v", v, err)
	}
	i, err := c.Info(ctx, client.InfoOptions{})
	if err != nil || i.Info.NCPU < 1 || i.Info.MemTotal < 1 || i.Info.OSType != "linux" || i.Info.ID == "" || i.Info.DockerRootDir == "" || i.Info.KernelVersion == "" {
		t.Errorf("info: %+v %v", i.Info, err)
	}
	du, err := c.DiskUsage(ctx, client.DiskUsageOptions{Containers: true, Images: true, Volumes: true, BuildCache: true})
	if err != nil || du.Images.TotalCount < 1 {
		t.Errorf("df: %+v %v", du, err)
	}
	old, err := client.New(client.WithHost(c.DaemonHost()), client.WithAPIVersion("1.41"))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if du, err := old.DiskUsage(ctx, client.DiskUsageOptions{Images: true}); err != nil || du.Images.TotalCount < 1 {
		t.Errorf("df of API 1.41: %+v %v", du, err)
	}
	_, err = c.SwarmInspect(ctx, client.SwarmInspectOptions{})
	wantClass(t, "swarm", err, errdefs.IsNotImplemented)
	_, err = c.ImageBuild(ctx, strings.NewReader(""), client.ImageBuildOptions{})
	wantClass(t, "build", err, errdefs.IsNotImplemented)
	_, err = c.ImageSearch(ctx, "x", client.ImageSearchOptions{})
	wantClass(t, "search", err, errdefs.IsNotImplemented)
}

func testImages(t *testing.T, c *client.Client, name string) {
	ctx := t.Context()
	img, err := c.ImageInspect(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	if img.Os != "linux" || len(img.RootFS.Layers) != 1 || img.Size == 0 || img.Config == nil || len(img.Config.Cmd) != 1 || img.Comment != "from the host" {
		t.Errorf("inspect: %+v", img.InspectResponse)
	}
	const other = "localhost:5000/team/busybox:other"
	if _, err := c.ImageTag(ctx, client.ImageTagOptions{Source: name, Target: other}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.ImageInspect(ctx, other); err != nil || got.ID != img.ID || len(got.RepoTags) != 2 {
		t.Errorf("inspect of a second name: %+v %v", got.RepoTags, err)
	}
	for filter, want := range map[string]int{"busybox": 1, "localhost:5000/*/busybox": 1, "*:other": 0, "nothing": 0} {
		list, err := c.ImageList(ctx, client.ImageListOptions{Filters: client.Filters{}.Add("reference", filter)})
		if err != nil || len(list.Items) != want {
			t.Errorf("list of %s: %+v %v", filter, list.Items, err)
		}
	}
	list, err := c.ImageList(ctx, client.ImageListOptions{Filters: client.Filters{}.Add("label", "origin=test")})
	if err != nil || len(list.Items) != 1 || list.Items[0].ID != img.ID || list.Items[0].Size != img.Size {
		t.Errorf("list by label: %+v %v", list.Items, err)
	}
	history, err := c.ImageHistory(ctx, name)
	if err != nil || len(history.Items) == 0 || history.Items[0].Comment != "from the host" {
		t.Errorf("history: %+v %v", history.Items, err)
	}

	saved, err := c.ImageSave(ctx, []string{name, other})
	if err != nil {
		t.Fatal(err)
	}
	archive, err := io.ReadAll(saved)
	saved.Close()
	if err != nil {
		t.Fatal(err)
	}
	removed, err := c.ImageRemove(ctx, other, client.ImageRemoveOptions{})
	if err != nil || len(removed.Items) != 1 || removed.Items[0].Untagged != other {
		t.Errorf("removing a name: %+v %v", removed.Items, err)
	}
	for _, quiet := range []bool{false, true} {
		loaded, err := c.ImageLoad(ctx, bytes.NewReader(archive), client.ImageLoadWithQuiet(quiet))
		if err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(loaded)
		loaded.Close()
		if err != nil || !strings.Contains(string(out), `{"stream":"Loaded image: `+other+`\n"}`) {
			t.Errorf("load, quiet %v: %s %v", quiet, out, err)
		}
	}
	if _, err := c.ImageRemove(ctx, other, client.ImageRemoveOptions{}); err != nil {
		t.Error(err)
	}

	_, err = c.ImageInspect(ctx, name, client.ImageInspectWithPlatform(&ocispec.Platform{OS: "linux", Architecture: "mips"}))
	wantClass(t, "inspect for a platform that is not here", err, errdefs.IsNotFound)
	if _, err := c.ImageInspect(ctx, name, client.ImageInspectWithPlatform(&ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH})); err != nil {
		t.Errorf("inspect for the host's platform: %v", err)
	}
	_, err = c.ImageInspect(ctx, "nosuch")
	wantClass(t, "inspect", err, errdefs.IsNotFound)
	_, err = c.ImageSave(ctx, []string{name, "nosuch"})
	wantClass(t, "save", err, errdefs.IsNotFound)
	_, err = c.ImageRemove(ctx, "nosuch", client.ImageRemoveOptions{})
	wantClass(t, "remove", err, errdefs.IsNotFound)
	_, err = c.ImageTag(ctx, client.ImageTagOptions{Source: "nosuch", Target: "x"})
	wantClass(t, "tag", err, errdefs.IsNotFound)
	_, err = c.ImageList(ctx, client.ImageListOptions{Filters: client.Filters{}.Add("lable", "x")})
	wantClass(t, "list by an unknown term", err, errdefs.IsInvalidArgument)
	_, err = c.ImageLoad(ctx, strings.NewReader("this is no archive"))
	wantClass(t, "load of rubbish", err, errdefs.IsInvalidArgument)
	_, err = c.ImagePull(ctx, "127.0.0.1:1/x:y", client.ImagePullOptions{})
	wantClass(t, "pull from nobody", err, errdefs.IsUnavailable)
}

func testVolumes(t *testing.T, c *client.Client) {
	ctx := t.Context()
	made, err := c.VolumeCreate(ctx, client.VolumeCreateOptions{Name: "data", Labels: map[string]string{"a": "b"}})
	if err != nil || made.Volume.Name != "data" || made.Volume.Driver != "local" || made.Volume.Mountpoint == "" {
		t.Fatalf("create: %+v %v", made.Volume, err)
	}
	anonymous, err := c.VolumeCreate(ctx, client.VolumeCreateOptions{})
	if err != nil || len(anonymous.Volume.Name) != 64 {
		t.Fatalf("create without a name: %+v %v", anonymous.Volume, err)
	}
	got, err := c.VolumeInspect(ctx, "data", client.VolumeInspectOptions{})
	if err != nil || got.Volume.Labels["a"] != "b" {
		t.Errorf("inspect: %+v %v", got.Volume, err)
	}
	list, err := c.VolumeList(ctx, client.VolumeListOptions{Filters: client.Filters{}.Add("label", "a=b").Add("dangling", "true")})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("list: %+v %v", list.Items, err)
	}
	pruned, err := c.VolumePrune(ctx, client.VolumePruneOptions{})
	if err != nil || len(pruned.Report.VolumesDeleted) != 1 || pruned.Report.VolumesDeleted[0] != anonymous.Volume.Name {
		t.Errorf("prune took %v, not the anonymous volume alone (%v)", pruned.Report.VolumesDeleted, err)
	}
	if _, err := c.VolumeRemove(ctx, "data", client.VolumeRemoveOptions{}); err != nil {
		t.Error(err)
	}
	_, err = c.VolumeInspect(ctx, "data", client.VolumeInspectOptions{})
	wantClass(t, "inspect", err, errdefs.IsNotFound)
	_, err = c.VolumeRemove(ctx, "data", client.VolumeRemoveOptions{})
	wantClass(t, "remove", err, errdefs.IsNotFound)
	_, err = c.VolumeCreate(ctx, client.VolumeCreateOptions{Name: "../x"})
	wantClass(t, "create with a bad name", err, errdefs.IsInvalidArgument)
	_, err = c.VolumeCreate(ctx, client.VolumeCreateOptions{Driver: "nfs"})
	wantClass(t, "create with an unknown driver", err, errdefs.IsNotFound)
}

func testNetworks(t *testing.T, c *client.Client) {
	ctx := t.Context()
	list, err := c.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil || len(list.Items) != 3 {
		t.Fatalf("list: %+v %v", list.Items, err)
	}
	for _, n := range list.Items {
		for _, name := range []string{n.Name, n.ID, n.ID[:12]} {
			got, err := c.NetworkInspect(ctx, name, client.NetworkInspectOptions{})
			if err != nil || got.Network.ID != n.ID || got.Network.Name != n.Name {
				t.Errorf("inspect %s: %+v %v", name, got.Network, err)
			}
		}
		if n.Name == "bridge" && n.Options["com.docker.network.bridge.name"] == "" {
			t.Errorf("nobody tells the bridge's name: %v", n.Options)
		}
		if n.Name == "bridge" && (len(n.IPAM.Config) != 1 || n.IPAM.Config[0].Gateway != n.IPAM.Config[0].Subnet.Addr().Next()) {
			t.Errorf("before the first container, the addresses are %+v", n.IPAM)
		}
		if age := time.Since(n.Created); age < 0 || age > time.Hour {
			t.Errorf("%s was made at %s", n.Name, n.Created)
		}
		_, err := c.NetworkRemove(ctx, n.Name, client.NetworkRemoveOptions{})
		wantClass(t, "remove", err, errdefs.IsPermissionDenied)
	}
	_, err = c.NetworkInspect(ctx, "nosuch", client.NetworkInspectOptions{})
	wantClass(t, "inspect", err, errdefs.IsNotFound)
	made, err := c.NetworkCreate(ctx, "mine", client.NetworkCreateOptions{Driver: "bridge", Labels: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.NetworkInspect(ctx, made.ID[:12], client.NetworkInspectOptions{})
	if n := got.Network; err != nil || n.ID != made.ID || n.Name != "mine" || n.Labels["a"] != "b" || len(n.IPAM.Config) != 1 || !n.IPAM.Config[0].Subnet.Contains(n.IPAM.Config[0].Gateway) {
		t.Errorf("inspect: %+v %v", n, err)
	}
	_, err = c.NetworkCreate(ctx, "mine", client.NetworkCreateOptions{})
	wantClass(t, "create again", err, errdefs.IsConflict)
	_, err = c.NetworkCreate(ctx, "other", client.NetworkCreateOptions{Driver: "overlay"})
	wantClass(t, "create with an unknown driver", err, errdefs.IsNotFound)
	pruned, err := c.NetworkPrune(ctx, client.NetworkPruneOptions{})
	if err != nil || len(pruned.Report.NetworksDeleted) != 1 || pruned.Report.NetworksDeleted[0] != "mine" {
		t.Errorf("prune: %+v %v", pruned.Report, err)
	}
	_, err = c.NetworkRemove(ctx, "mine", client.NetworkRemoveOptions{})
	wantClass(t, "remove what is gone", err, errdefs.IsNotFound)
}
