package docker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
)

func imageEndpoints() []feature {
	archives := together(imagesSave)
	list := []feature{
		{name: "GET /images/json", prove: imagesList},
		{name: "POST /images/create", note: "a pull with `fromImage`, an import with `fromSrc=-`", prove: imagesCreate},
		{name: "GET /images/{name}/json", prove: func(t *testing.T, _ wall) {
			var img image.InspectResponse
			does(t, 200, &img, "GET", "/images/busybox/json", nil)
			if !slices.Contains(img.RepoTags, "busybox:latest") || img.Os != "linux" || img.Architecture == "" || img.Size == 0 || len(img.RootFS.Layers) != 1 || !slices.Equal(img.Config.Cmd, []string{"/bin/sh"}) {
				t.Errorf("%+v", img)
			}
			does(t, 200, nil, "GET", "/images/"+img.ID+"/json", nil)
			says(t, 404, noImage("nosuch"), "GET", "/images/nosuch/json", nil)
		}},
		{name: "GET /images/{name}/history", prove: func(t *testing.T, _ wall) {
			var h []image.HistoryResponseItem
			does(t, 200, &h, "GET", "/images/busybox/history", nil)
			equal(t, "its length", len(h), 1)
			equal(t, "whether its name is there", slices.Contains(h[0].Tags, "busybox:latest"), true)
			says(t, 404, noImage("nosuch"), "GET", "/images/nosuch/history", nil)
		}},
		{name: "POST /images/{name}/tag", prove: func(t *testing.T, _ wall) {
			does(t, 201, nil, "POST", "/images/busybox/tag"+query("repo", "example.com/team/tagged", "tag", "v1"), nil)
			forget(t, "example.com/team/tagged:v1")
			does(t, 200, nil, "GET", "/images/example.com/team/tagged:v1/json", nil)
			says(t, 404, noImage("nosuch"), "POST", "/images/nosuch/tag"+query("repo", "other"), nil)
			equal(t, "status of a name that is none", ask(t, "POST", "/images/busybox/tag"+query("repo", "UPPER"), nil).status, 400)
		}},
		{name: "DELETE /images/{name}", prove: func(t *testing.T, _ wall) {
			cli(t, "tag", "busybox", "removed:v1")
			var gone []image.DeleteResponse
			does(t, 200, &gone, "DELETE", "/images/removed:v1", nil)
			equal(t, "what is gone", fmt.Sprint(gone), "[{ removed:v1}]")
			says(t, 404, "cannot remove removed:v1: "+noImage("removed:v1"), "DELETE", "/images/removed:v1", nil)
		}},
		{name: "POST /images/prune", prove: imagesPrune},
		{name: "GET /images/{name}/get", prove: archives},
		{name: "GET /images/get", prove: archives},
		{name: "POST /images/load", prove: archives},
	}
	for i := range list {
		list[i].once = true
	}
	return append(list, feature{name: "POST /commit", prove: commit})
}

// noImage is what is said of an image that is not here.
func noImage(name string) string {
	return "No such image: " + name + "; see `abode images`, or get it with `abode pull`"
}

func forget(t testing.TB, refs ...string) {
	t.Cleanup(func() { call(t, "", append([]string{"rmi", "--force"}, refs...)...) })
}

// imported makes an image of one file, which goes with the test.
func imported(t testing.TB, ref string, changes ...string) {
	t.Helper()
	q := []string{"fromSrc", "-", "repo", ref, "message", "for a test"}
	for _, c := range changes {
		q = append(q, "changes", c)
	}
	a := does(t, 200, nil, "POST", "/images/create"+query(q...), files(t, map[string]string{"of": ref}))
	if !strings.Contains(a.body, `"status":"sha256:`) {
		t.Fatalf("the import answers %s", a.body)
	}
	forget(t, ref)
}

func imagesList(t *testing.T, _ wall) {
	imported(t, "listed:old", "LABEL listed=yes")
	between := time.Now().Format(time.RFC3339Nano)
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // times of images have seconds in some formats
	imported(t, "listed:young", "LABEL listed=yes", "LABEL age=young")
	tags := func(terms string) string {
		t.Helper()
		var list []image.Summary
		does(t, 200, &list, "GET", "/images/json"+query("filters", terms), nil)
		var tags []string
		for _, i := range list {
			tags = append(tags, i.RepoTags...)
		}
		return strings.Join(tags, " ")
	}
	const both = "listed:young listed:old" // the newest first
	equal(t, "label", tags(`{"label":["listed=yes"]}`), both)
	equal(t, "reference", tags(`{"reference":["listed"]}`), both)
	equal(t, "reference of a tag", tags(`{"reference":["*:old"]}`), "listed:old")
	equal(t, "since", tags(`{"label":["listed"],"since":["listed:old"]}`), "listed:young")
	equal(t, "before", tags(`{"label":["listed"],"before":["listed:young"]}`), "listed:old")
	equal(t, "until", tags(fmt.Sprintf(`{"label":["listed"],"until":[%q]}`, between)), "listed:old")
	equal(t, "dangling", tags(`{"label":["listed"],"dangling":["true"]}`), "")
	equal(t, "not dangling", tags(`{"label":["listed"],"dangling":["false"]}`), both)
	says(t, 400, "invalid filter 'lable'", "GET", "/images/json"+filter("lable", "x"), nil)
	var list []image.Summary
	does(t, 200, &list, "GET", "/images/json"+filter("reference", "busybox")+"&digests=1&shared-size=1&manifests=1", nil)
	if i := list[0]; i.Size == 0 || i.Created == 0 || i.ParentID != "" || !strings.HasPrefix(i.ID, "sha256:") {
		t.Errorf("%+v", i)
	}
	var old []struct{ VirtualSize int64 }
	does(t, 200, &old, "GET", "/v1.43/images/json"+filter("reference", "busybox"), nil)
	equal(t, "the size of version 1.43", old[0].VirtualSize, list[0].Size)
}

func imagesCreate(t *testing.T, _ wall) {
	ref := pushed(t, "created")
	a := does(t, 200, nil, "POST", "/images/create"+query("fromImage", ref, "tag", "latest"), nil)
	if !strings.Contains(a.body, `"status":"Status: Downloaded newer image for `+ref+":latest") || !strings.Contains(a.body, `"status":"Digest: sha256:`) {
		t.Errorf("a pull answers %s", a.body)
	}
	imported(t, "imported:v1", "ENV A=b")
	equal(t, "the change", cli(t, "inspect", "--format", "{{.Config.Env}} {{.Comment}}", "imported:v1"), "[A=b] for a test")
	missing := ask(t, "POST", "/images/create"+query("fromImage", hub+"/nosuch", "tag", "v1"), nil)
	equal(t, "status of what the registry has not", missing.status, 404)
	says(t, 501, "abode cannot import from a URL yet; a later version will. Fetch it yourself and import from standard input: curl -L URL | docker import - NAME",
		"POST", "/images/create"+query("fromSrc", "http://example.com/x.tar"), nil)
	says(t, 400, "cannot create an image: name it in fromImage, or send a tar with fromSrc=-", "POST", "/images/create", nil)
}

func imagesPrune(t *testing.T, _ wall) {
	before := time.Now().Add(-time.Hour).Format(time.RFC3339)
	imported(t, "pruned:v1", "LABEL prune=yes", "LABEL age=old")
	old := cli(t, "inspect", "--format", "{{.Id}}", "pruned:v1")
	imported(t, "pruned:v1", "LABEL prune=yes", "LABEL age=young") // which takes the name away
	prune := func(terms string) string {
		t.Helper()
		var r image.PruneReport
		does(t, 200, &r, "POST", "/images/prune"+query("filters", terms), nil)
		var gone []string
		for _, d := range r.ImagesDeleted {
			gone = append(gone, d.Untagged+d.Deleted)
		}
		return strings.Join(gone, " ")
	}
	equal(t, "label", prune(`{"label":["prune=no"]}`), "")
	equal(t, "label!", prune(`{"label":["prune=yes"],"label!":["age=old"]}`), "")
	equal(t, "until", prune(fmt.Sprintf(`{"label":["prune=yes"],"until":[%q]}`, before)), "")
	equal(t, "what has no name", prune(`{"label":["prune=yes"],"until":["0s"]}`), old)
	young := cli(t, "inspect", "--format", "{{.Id}}", "pruned:v1")
	equal(t, "what nobody uses", prune(`{"label":["prune=yes"],"dangling":["false"]}`), "pruned:v1 "+young)
	says(t, 400, "invalid filter 'lable'", "POST", "/images/prune"+filter("lable", "x"), nil)
}

func imagesSave(t *testing.T, _ wall) {
	imported(t, "saved:v1")
	imported(t, "saved:v2")
	one := does(t, 200, nil, "GET", "/images/saved:v1/get", nil)
	equal(t, "the media type", one.header.Get("Content-Type"), "application/x-tar")
	two := does(t, 200, nil, "GET", "/images/get"+query("names", "saved:v1", "names", "saved:v2"), nil)
	for what, archive := range map[string]answer{"saved:v1": one, "saved:v2": two} {
		cli(t, "rmi", what)
		a := does(t, 200, nil, "POST", "/images/load", strings.NewReader(archive.body))
		if !strings.Contains(a.body, `{"stream":"Loaded image: `+what+`\n"}`) {
			t.Errorf("load of %s answers %s", what, a.body)
		}
		does(t, 200, nil, "GET", "/images/"+what+"/json", nil)
	}
	says(t, 404, noImage("nosuch"), "GET", "/images/nosuch/get", nil)
	says(t, 404, noImage("nosuch"), "GET", "/images/get"+query("names", "nosuch"), nil)
	equal(t, "status of what is no archive", ask(t, "POST", "/images/load", strings.NewReader("rubbish")).status, 400)
}

func commit(t *testing.T, w wall) {
	id := w.script(t, "echo kept >/file")
	ended(t, id)
	ref := "committed:" + string(w)
	forget(t, ref)
	var made container.CommitResponse
	does(t, 201, &made, "POST", "/commit"+query("container", id, "repo", "committed", "tag", string(w), "author", "ann", "comment", "why", "changes", `CMD ["cat","/file"]`), map[string]any{})
	equal(t, "the image", cli(t, "inspect", "--format", "{{.Id}} {{.Author}} {{.Comment}}", ref), made.ID+" ann why")
	for _, other := range walls { // of one wall, it runs on each
		equal(t, "what it prints as "+string(other), other.run(t, "--rm", ref), "kept")
	}
	// By the command, of one that runs.
	again := "committed:again-" + string(w)
	forget(t, again)
	cli(t, "commit", "--change", "ENV A=b", w.bench(t).id, again)
	equal(t, "the variable", cli(t, "inspect", "--format", "{{.Config.Env}}", again), "[A=b]")
	says(t, 404, "No such container: nosuch", "POST", "/commit"+query("container", "nosuch"), map[string]any{})
}
