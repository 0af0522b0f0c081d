package docker

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
)

func containerEndpoints() []feature {
	pauses := together(pauses)
	return []feature{
		{name: "GET /containers/json", prove: containersList, note: "all filters; `isolation` is one too"},
		{name: "POST /containers/create", prove: containersCreate, note: "what of HostConfig is not there is refused, see the flags"},
		{name: "GET /containers/{id}/json", prove: containersInspect},
		{name: "GET /containers/{id}/top", prove: func(t *testing.T, w wall) {
			var top container.TopResponse
			does(t, 200, &top, "GET", "/containers/"+w.bench(t).id+"/top"+query("ps_args", "aux"), nil)
			if !slices.Contains(top.Titles, "USER") || !strings.Contains(fmt.Sprint(top.Processes), "echo out") {
				t.Errorf("%+v", top)
			}
			noContainer(t, "GET", "/containers/{id}/top", nil)
			stopped := w.create(t, nil, "true")
			says(t, 409, "container "+stopped+" is not running", "GET", "/containers/"+stopped+"/top", nil)
		}},
		{name: "POST /containers/{id}/start", prove: func(t *testing.T, w wall) {
			id := w.script(t, "exit 4")
			equal(t, "exit code", ended(t, id), 4)
			noContainer(t, "POST", "/containers/{id}/start", nil)
			does(t, 304, nil, "POST", "/containers/"+w.bench(t).id+"/start", nil)
			missing := w.create(t, nil, "/no/such/program")
			a := ask(t, "POST", "/containers/"+missing+"/start", nil)
			equal(t, "status of a program that is missing", a.status, 400)
			equal(t, "its exit code", state(t, missing).ExitCode, 127)
		}},
		{name: "POST /containers/{id}/stop", prove: func(t *testing.T, w wall) {
			id := w.script(t, "trap 'exit 9' USR1; touch /ready; while :; do sleep 0.1; done")
			inside(t, id, "/ready")
			does(t, 204, nil, "POST", "/containers/"+id+"/stop"+query("signal", "USR1", "t", "60"), nil)
			equal(t, "exit code", state(t, id).ExitCode, 9)
			does(t, 304, nil, "POST", "/containers/"+id+"/stop", nil)
			start(t, id)
			does(t, 204, nil, "POST", "/containers/"+id+"/stop"+query("signal", "WINCH", "t", "0"), nil)
			equal(t, "exit code when it is killed", state(t, id).ExitCode, 137)
			noContainer(t, "POST", "/containers/{id}/stop", nil)
		}},
		{name: "POST /containers/{id}/restart", prove: func(t *testing.T, w wall) {
			id := w.script(t, "echo began; sleep 1000")
			before := state(t, id)
			does(t, 204, nil, "POST", "/containers/"+id+"/restart"+query("t", "0"), nil)
			after := state(t, id)
			if !after.Running || after.StartedAt == before.StartedAt {
				t.Errorf("before %+v, after %+v", before, after)
			}
			noContainer(t, "POST", "/containers/{id}/restart", nil)
		}},
		{name: "POST /containers/{id}/kill", prove: func(t *testing.T, w wall) {
			id := w.script(t, "sleep 1000")
			says(t, 400, "Invalid signal: NOSUCH", "POST", "/containers/"+id+"/kill"+query("signal", "NOSUCH"), nil)
			does(t, 204, nil, "POST", "/containers/"+id+"/kill", nil)
			equal(t, "exit code", ended(t, id), 137)
			a := ask(t, "POST", "/containers/"+id+"/kill", nil)
			equal(t, "status once it has ended", a.status, 409)
			noContainer(t, "POST", "/containers/{id}/kill", nil)
		}},
		{name: "POST /containers/{id}/update", prove: func(t *testing.T, w wall) {
			id := w.script(t, "sleep 1000")
			does(t, 200, nil, "POST", "/containers/"+id+"/update", map[string]any{"PidsLimit": 66, "RestartPolicy": map[string]any{"Name": "on-failure", "MaximumRetryCount": 3}})
			equal(t, "the limit inside", cli(t, "exec", id, "sh", "-c", library+"cg pids/pids.max pids.max"), "66")
			equal(t, "the policy", cli(t, "inspect", "--format", "{{.HostConfig.RestartPolicy}}", id), "{on-failure 3}")
			noContainer(t, "POST", "/containers/{id}/update", map[string]any{})
		}},
		{name: "POST /containers/{id}/rename", prove: func(t *testing.T, w wall) {
			id := w.create(t, nil, "true")
			name := w.name(t)
			does(t, 204, nil, "POST", "/containers/"+id+"/rename"+query("name", name), nil)
			equal(t, "the name", cli(t, "inspect", "--format", "{{.Name}}", id), "/"+name)
			bench := w.bench(t)
			says(t, 409, fmt.Sprintf("Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.", "/"+bench.name, bench.id),
				"POST", "/containers/"+id+"/rename"+query("name", bench.name), nil)
			noContainer(t, "POST", "/containers/{id}/rename"+query("name", "other"), nil)
		}},
		{name: "POST /containers/{id}/pause", prove: pauses},
		{name: "POST /containers/{id}/unpause", prove: pauses},
		{name: "POST /containers/{id}/wait", prove: containersWait},
		{name: "DELETE /containers/{id}", prove: func(t *testing.T, w wall) {
			id := w.script(t, "sleep 1000")
			a := ask(t, "DELETE", "/containers/"+id, nil)
			equal(t, "status while it runs", a.status, 409)
			does(t, 204, nil, "DELETE", "/containers/"+id+query("force", "1", "v", "1"), nil)
			says(t, 404, "No such container: "+id, "DELETE", "/containers/"+id, nil)
		}},
		{name: "POST /containers/prune", prove: func(t *testing.T, w wall) {
			of := func(v string) string {
				return w.create(t, map[string]any{"Labels": map[string]string{"prune": string(w), "v": v}}, "true")
			}
			old := of("old")
			until := time.Now().Format(time.RFC3339Nano)
			kept, young := of("kept"), of("young")
			prune := func(terms string) []string {
				t.Helper()
				var r container.PruneReport
				does(t, 200, &r, "POST", "/containers/prune"+query("filters", terms), nil)
				return r.ContainersDeleted
			}
			got := prune(fmt.Sprintf(`{"label":["prune=%s"],"until":[%q]}`, w, until))
			equal(t, "until", strings.Join(got, " "), old)
			got = prune(fmt.Sprintf(`{"label":{"prune=%s":true},"label!":{"v=kept":true}}`, w))
			equal(t, "label and label!", strings.Join(got, " "), young)
			equal(t, "what is left", state(t, kept).Status, container.StateCreated)
			says(t, 400, "invalid filter 'lable'", "POST", "/containers/prune"+filter("lable", "x"), nil)
		}},
	}
}

// inside waits for a file in a container that runs.
func inside(t testing.TB, id, file string) {
	t.Helper()
	eventually(t, file, func() bool {
		return ask(t, "HEAD", "/containers/"+id+"/archive"+query("path", file), nil).status == 200
	})
}

func containersList(t *testing.T, w wall) {
	b := w.bench(t)
	older := w.create(t, nil, "true")
	failed := w.script(t, "exit 42")
	ended(t, failed)
	ids := func(parameters string) []string {
		t.Helper()
		var list []container.Summary
		does(t, 200, &list, "GET", "/containers/json"+parameters, nil)
		var ids []string
		for _, c := range list {
			ids = append(ids, c.ID)
		}
		return ids
	}
	port, _, _ := strings.Cut(cli(t, "port", b.id, "8080"), "\n")
	_, port, _ = strings.Cut(port, ":")
	for _, c := range []struct {
		term, yes, no string
		id            string // of whom yes is true
	}{
		{"ancestor", "busybox", "nosuch", b.id},
		{"annotation", "of=" + string(w), "of=another", b.id},
		{"before", failed, b.id, older},
		{"since", older, failed, failed},
		{"exited", "42", "41", failed},
		{"expose", "9090/tcp", "9091", b.id},
		{"health", "none", "healthy", b.id},
		{"id", b.id[:12], "ffffffffffff", b.id},
		{"is-task", "false", "true", b.id},
		{"isolation", string(w), map[wall]string{"vm": "container", "container": "vm"}[w], b.id},
		{"label", "bench=" + string(w), "bench=another", b.id},
		{"name", "^/" + b.name + "$", "nobody", b.id},
		{"network", "bridge", "host", b.id},
		{"publish", port, "1", b.id},
		{"status", "exited", "dead", failed},
		{"volume", b.volume, "another", b.id},
	} {
		if !slices.Contains(ids(filter(c.term, c.yes)), c.id) {
			t.Errorf("%s=%s does not list %s", c.term, c.yes, c.id)
		}
		if slices.Contains(ids(filter(c.term, c.no)), c.id) {
			t.Errorf("%s=%s lists %s", c.term, c.no, c.id)
		}
	}
	equal(t, "of those that run, whether one is that has ended", slices.Contains(ids(""), failed), false)
	equal(t, "of all, whether one is that has ended", slices.Contains(ids(query("all", "1")), failed), true)
	equal(t, "how many the limit gives", len(ids(query("limit", "2"))), 2)
	says(t, 400, "invalid filter 'lable'", "GET", "/containers/json"+filter("lable", "x"), nil)
	var list []container.Summary
	does(t, 200, &list, "GET", "/containers/json"+filter("id", b.id)+"&size=1", nil)
	if c := list[0]; c.SizeRootFs == 0 || c.State != "running" || c.Names[0] != "/"+b.name || c.Image != "busybox" || len(c.Ports) != 2 || c.Mounts[0].Name != b.volume {
		t.Errorf("%+v", c)
	}
}

func containersCreate(t *testing.T, w wall) {
	id := w.create(t, map[string]any{"Labels": map[string]string{"k": "v"}}, "true")
	equal(t, "the label", cli(t, "inspect", "--format", "{{.Config.Labels.k}} {{.HostConfig.Isolation}}", id), "v "+string(w))
	host := map[string]any{"Isolation": string(w)}
	says(t, 400, "config cannot be empty in order to create a container", "POST", "/containers/create", map[string]any{"HostConfig": host})
	says(t, 404, "No such image: nosuch", "POST", "/containers/create", map[string]any{"Image": "nosuch", "HostConfig": host})
	says(t, 400, `invalid isolation "hyperv": choose container (shares the host's kernel) or vm (has a kernel of its own)`, "POST", "/containers/create", map[string]any{"Image": "busybox", "HostConfig": map[string]any{"Isolation": "hyperv"}})
	says(t, 400, "unsupported Content-Type header (application/x-tar): must be 'application/json'", "POST", "/containers/create", strings.NewReader("{}"))
	// A body that is too large is not read to its end.
	req, err := http.NewRequestWithContext(soon(t), "POST", "http://engine/containers/create", io.MultiReader(strings.NewReader(`{"Image":"`), endless('x')))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := plain.Do(req)
	if err == nil {
		defer resp.Body.Close()
		equal(t, "status of a body without end", resp.StatusCode, http.StatusRequestEntityTooLarge)
	} else if soon(t).Err() != nil {
		t.Error(err)
	}
}

// endless is a reader of one byte, over and over.
type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

func containersInspect(t *testing.T, w wall) {
	b := w.bench(t)
	var c struct {
		container.InspectResponse
		SizeRw *int64
	}
	does(t, 200, &c, "GET", "/containers/"+b.id[:12]+"/json"+query("size", "1"), nil)
	if c.ID != b.id || c.Name != "/"+b.name || !c.State.Running || c.State.Pid == 0 || c.SizeRw == nil || c.Config.Labels["bench"] != string(w) ||
		string(c.HostConfig.Isolation) != string(w) || !c.NetworkSettings.Networks["bridge"].IPAddress.IsValid() {
		t.Errorf("%+v", c)
	}
	var old struct{ NetworkSettings struct{ IPAddress string } }
	does(t, 200, &old, "GET", "/v1.44/containers/"+b.name+"/json", nil)
	equal(t, "the address of version 1.44", old.NetworkSettings.IPAddress, c.NetworkSettings.Networks["bridge"].IPAddress.String())
	noContainer(t, "GET", "/containers/{id}/json", nil)
}

func pauses(t *testing.T, w wall) {
	id := w.script(t, "while :; do date +%s%N >/now; sleep 0.1; done")
	inside(t, id, "/now")
	does(t, 204, nil, "POST", "/containers/"+id+"/pause", nil)
	equal(t, "its state", state(t, id).Status, container.StatePaused)
	equal(t, "status when it is paused again", ask(t, "POST", "/containers/"+id+"/pause", nil).status, 409)
	does(t, 204, nil, "POST", "/containers/"+id+"/unpause", nil)
	equal(t, "its state", state(t, id).Status, container.StateRunning)
	equal(t, "status when it goes on already", ask(t, "POST", "/containers/"+id+"/unpause", nil).status, 409)
	noContainer(t, "POST", "/containers/{id}/pause", nil)
	noContainer(t, "POST", "/containers/{id}/unpause", nil)
}

func containersWait(t *testing.T, w wall) {
	id := w.create(t, map[string]any{"HostConfig": map[string]any{"AutoRemove": true}}, "sh", "-c", "exit 6")
	var now container.WaitResponse
	does(t, 200, &now, "POST", "/containers/"+id+"/wait"+query("condition", "not-running"), nil)
	equal(t, "the code of one that has not run", now.StatusCode, 0)
	waits := map[string]*http.Response{}
	for _, condition := range []string{"next-exit", "removed"} {
		// The header comes before the end.
		waits[condition] = request(t, "POST", "/containers/"+id+"/wait"+query("condition", condition), nil)
		defer waits[condition].Body.Close()
	}
	start(t, id)
	for condition, resp := range waits {
		var r container.WaitResponse
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		read(t, string(b), &r)
		equal(t, "the code after "+condition, r.StatusCode, 6)
		if condition == "removed" {
			noContainerOf(t, id)
		}
	}
	says(t, 400, `invalid condition: "later"`, "POST", "/containers/"+w.bench(t).id+"/wait"+query("condition", "later"), nil)
	noContainer(t, "POST", "/containers/{id}/wait", nil)
}

func noContainerOf(t testing.TB, id string) {
	t.Helper()
	says(t, 404, "No such container: "+id, "GET", "/containers/"+id+"/json", nil)
}
