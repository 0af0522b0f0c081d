package api_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
)

func (tc *caseContext) inspect(t *testing.T, id string) container.InspectResponse {
	t.Helper()
	r, err := tc.c.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Container
}

func testLife(t *testing.T, tc *caseContext) {
	ctx, c := t.Context(), tc.c
	id := tc.create(t, container.Config{Cmd: []string{"sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done"}, Labels: map[string]string{"case": "life"}})
	if got := tc.inspect(t, id); got.State.Status != container.StateCreated || got.HostConfig.Isolation != tc.isolation || got.ID != id {
		t.Errorf("created: %+v, isolation %s", got.State, got.HostConfig.Isolation)
	}
	tc.start(t, id)
	tc.hasWritten(t, id, "ready\n") // a signal that comes before the trap is lost
	name := string(tc.isolation) + "-life"
	if _, err := c.ContainerRename(ctx, id, client.ContainerRenameOptions{NewName: name}); err != nil {
		t.Fatal(err)
	}
	list, err := c.ContainerList(ctx, client.ContainerListOptions{Filters: client.Filters{}.Add("label", "case=life").Add("status", "running")})
	if err != nil || len(list.Items) != 1 || list.Items[0].ID != id || !slices.Equal(list.Items[0].Names, []string{"/" + name}) {
		t.Errorf("list: %+v %v", list.Items, err)
	}
	top, err := c.ContainerTop(ctx, name, client.ContainerTopOptions{})
	if err != nil || !slices.Contains(top.Titles, "PID") || !strings.Contains(fmt.Sprint(top.Processes), "trap") {
		t.Errorf("top: %+v %v", top, err)
	}
	if _, err := c.ContainerPause(ctx, name, client.ContainerPauseOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := tc.inspect(t, id); got.State.Status != container.StatePaused || !got.State.Paused {
		t.Errorf("paused: %+v", got.State)
	}
	if _, err := c.ContainerUnpause(ctx, name, client.ContainerUnpauseOptions{}); err != nil {
		t.Fatal(err)
	}
	limit := int64(64)
	if _, err := c.ContainerUpdate(ctx, name, client.ContainerUpdateOptions{Resources: &container.Resources{PidsLimit: &limit}}); err != nil {
		t.Error(err)
	}
	if got := tc.inspect(t, id); got.HostConfig.PidsLimit == nil || *got.HostConfig.PidsLimit != limit {
		t.Errorf("the limit of processes is %v", got.HostConfig.PidsLimit)
	}
	if _, err := c.ContainerStop(ctx, name, client.ContainerStopOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := tc.inspect(t, id); got.State.Status != container.StateExited || got.State.ExitCode != 7 {
		t.Errorf("stopped: %+v", got.State)
	}
	if _, err := c.ContainerRestart(ctx, name, client.ContainerRestartOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ContainerKill(ctx, name, client.ContainerKillOptions{Signal: "KILL"}); err != nil {
		t.Fatal(err)
	}
	if code := tc.exitCode(t, id); code != 137 {
		t.Errorf("killed: exit code %d", code)
	}
	pruned, err := c.ContainerPrune(ctx, client.ContainerPruneOptions{Filters: client.Filters{}.Add("label", "case=life")})
	if err != nil || !slices.Equal(pruned.Report.ContainersDeleted, []string{id}) {
		t.Errorf("prune: %+v %v", pruned.Report, err)
	}
	_, err = c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	wantClass(t, "inspect of what is gone", err, errdefs.IsNotFound)
}

func testWait(t *testing.T, tc *caseContext) {
	c := tc.c
	removed := tc.create(t, container.Config{Cmd: []string{"sh", "-c", "exit 3"}}, func(h *container.HostConfig) { h.AutoRemove = true })
	gone := c.ContainerWait(t.Context(), removed, client.ContainerWaitOptions{Condition: container.WaitConditionRemoved})
	next := c.ContainerWait(t.Context(), removed, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	if code := tc.exitCode(t, removed); code != 0 {
		t.Errorf("waiting for one that does not run: %d", code)
	}
	tc.start(t, removed)
	for what, w := range map[string]client.ContainerWaitResult{"removal": gone, "the next exit": next} {
		select {
		case r := <-w.Result:
			if r.StatusCode != 3 || r.Error != nil {
				t.Errorf("waiting for %s: %+v", what, r)
			}
		case err := <-w.Error:
			t.Errorf("waiting for %s: %v", what, err)
		case <-time.After(patience):
			t.Fatalf("waiting for %s does not end", what)
		}
	}
	w := c.ContainerWait(t.Context(), "nosuch", client.ContainerWaitOptions{})
	wantClass(t, "waiting for nothing", <-w.Error, errdefs.IsNotFound)
}

func testErrors(t *testing.T, tc *caseContext) {
	ctx, c := t.Context(), tc.c
	id := tc.create(t, container.Config{Cmd: []string{"sleep", "1000"}})
	notModified := func(what, path string) {
		t.Helper()
		h := &http.Client{Transport: &http.Transport{
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return c.Dialer()(ctx) },
			DisableKeepAlives: true,
		}}
		resp, err := h.Post("http://x/containers/"+id+path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotModified {
			t.Errorf("%s: %s, want 304", what, resp.Status)
		}
	}
	notModified("stopping one that does not run", "/stop")
	_, err := c.ContainerKill(ctx, id, client.ContainerKillOptions{})
	wantClass(t, "killing one that does not run", err, errdefs.IsConflict)
	_, err = c.ContainerPause(ctx, id, client.ContainerPauseOptions{})
	wantClass(t, "pausing one that does not run", err, errdefs.IsConflict)
	_, err = c.ExecCreate(ctx, id, client.ExecCreateOptions{Cmd: []string{"true"}})
	wantClass(t, "exec in one that does not run", err, errdefs.IsConflict)
	tc.start(t, id)
	notModified("starting one that runs", "/start")
	_, err = c.ContainerRemove(ctx, id, client.ContainerRemoveOptions{})
	wantClass(t, "removing one that runs", err, errdefs.IsConflict)
	_, err = c.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: "NOSUCH"})
	wantClass(t, "killing with an unknown signal", err, errdefs.IsInvalidArgument)
	_, err = c.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
	wantClass(t, "unpausing one that runs", err, errdefs.IsConflict)
	_, err = c.ContainerRename(ctx, id, client.ContainerRenameOptions{NewName: "a b"})
	wantClass(t, "a bad name", err, errdefs.IsInvalidArgument)
	_, err = c.ContainerStatPath(ctx, id, client.ContainerStatPathOptions{Path: "/nosuch"})
	wantClass(t, "a file that is not there", err, errdefs.IsNotFound)
	_, err = c.ExecInspect(ctx, "nosuch", client.ExecInspectOptions{})
	wantClass(t, "an exec that is not there", err, errdefs.IsNotFound)
	_, err = c.ContainerCreate(ctx, client.ContainerCreateOptions{Image: "nosuch:image"})
	wantClass(t, "creating from no image", err, errdefs.IsNotFound)
	_, err = c.ContainerCreate(ctx, client.ContainerCreateOptions{Image: tc.image, HostConfig: &container.HostConfig{Isolation: "hyperv"}})
	wantClass(t, "an unknown isolation", err, errdefs.IsInvalidArgument)
	_, err = c.ContainerCreate(ctx, client.ContainerCreateOptions{Image: tc.image, Name: tc.inspect(t, id).Name[1:]})
	wantClass(t, "a name that is taken", err, errdefs.IsConflict)

	missing := tc.create(t, container.Config{Cmd: []string{"/no/such/program"}})
	_, err = c.ContainerStart(ctx, missing, client.ContainerStartOptions{})
	if err == nil || !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "no such file or directory") {
		t.Errorf("starting a program that is not there: %v", err)
	}
}

func testEvents(t *testing.T, tc *caseContext) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	id := tc.create(t, container.Config{Cmd: []string{"true"}, Labels: map[string]string{"case": "events"}})
	stream := tc.c.Events(ctx, client.EventsListOptions{Filters: client.Filters{}.Add("container", id).Add("type", "container")})
	tc.start(t, id)
	tc.exitCode(t, id)
	var seen []string
	for !slices.Contains(seen, string(events.ActionDie)) {
		select {
		case m := <-stream.Messages:
			seen = append(seen, string(m.Action))
			if m.Actor.ID != id || m.Actor.Attributes["case"] != "events" || m.Actor.Attributes["image"] != tc.image || m.TimeNano == 0 {
				t.Errorf("an event is incomplete: %+v", m)
			}
			if m.Action == events.ActionDie && m.Actor.Attributes["exitCode"] != "0" {
				t.Errorf("die: %+v", m.Actor)
			}
		case err := <-stream.Err:
			t.Fatalf("after %v: %v", seen, err)
		}
	}
	if !slices.Equal(seen, []string{"start", "die"}) {
		t.Errorf("the events were %v", seen)
	}
	past := tc.c.Events(ctx, client.EventsListOptions{Since: "1", Until: fmt.Sprint(time.Now().Unix()), Filters: client.Filters{}.Add("container", id).Add("event", "create")})
	select {
	case m := <-past.Messages:
		if m.Action != events.ActionCreate {
			t.Errorf("of the past: %+v", m)
		}
	case err := <-past.Err:
		if !isEOF(err) {
			t.Error(err)
		}
	}
}
