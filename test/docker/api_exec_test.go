package docker

import (
	"io"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

func execEndpoints() []feature {
	return []feature{
		{name: "POST /containers/{id}/exec", prove: func(t *testing.T, w wall) {
			path := "/containers/" + w.bench(t).id + "/exec"
			var made container.ExecCreateResponse
			does(t, 201, &made, "POST", path, map[string]any{"Cmd": []string{"true"}})
			equal(t, "the length of an ID", len(made.ID), 64)
			says(t, 400, "no exec command specified", "POST", path, map[string]any{})
			noContainer(t, "POST", "/containers/{id}/exec", map[string]any{"Cmd": []string{"true"}})
			stopped := w.create(t, nil, "true")
			says(t, 409, "container "+stopped+" is not running", "POST", "/containers/"+stopped+"/exec", map[string]any{"Cmd": []string{"true"}})
		}},
		{name: "POST /exec/{id}/start", prove: func(t *testing.T, w wall) {
			c := sdk(t)
			made, err := c.ExecCreate(soon(t), w.bench(t).id, client.ExecCreateOptions{
				AttachStdin: true, AttachStdout: true, AttachStderr: true, Env: []string{"A=b"}, WorkingDir: "/tmp", User: "7",
				Cmd: []string{"sh", "-c", "cat; echo $A $PWD $(id -u); echo err >&2; exit 3"},
			})
			if err != nil {
				t.Fatal(err)
			}
			a, err := c.ExecAttach(soon(t), made.ID, client.ExecAttachOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			io.WriteString(a.Conn, "sent\n")
			a.CloseWrite()
			equal(t, "the streams", framed(t, a.Reader), "sent\nb /tmp 7\n|err\n")
			var e container.ExecInspectResponse
			does(t, 200, &e, "GET", "/exec/"+made.ID+"/json", nil)
			equal(t, "the exit code", *e.ExitCode, 3)
			says(t, 409, "exec "+made.ID+" was started before; an exec runs once", "POST", "/exec/"+made.ID+"/start", map[string]any{})
			says(t, 404, "No such exec instance: nosuch", "POST", "/exec/nosuch/start", map[string]any{})
		}},
		{name: "POST /exec/{id}/resize", prove: func(t *testing.T, w wall) {
			var made container.ExecCreateResponse
			file := "/size"
			id := w.script(t, "sleep 1000")
			does(t, 201, &made, "POST", "/containers/"+id+"/exec", map[string]any{"Tty": true, "AttachStdin": true, "Cmd": []string{"sh", "-c", "while :; do stty size >" + file + "; sleep 0.1; done"}})
			does(t, 200, nil, "POST", "/exec/"+made.ID+"/start", map[string]any{"Detach": true, "Tty": true})
			does(t, 200, nil, "POST", "/exec/"+made.ID+"/resize"+query("h", "41", "w", "99"), nil)
			eventually(t, "the size", func() bool { return call(t, "", "exec", id, "cat", file).stdout == "41 99\n" })
			says(t, 404, "No such exec instance: nosuch", "POST", "/exec/nosuch/resize"+query("h", "1", "w", "1"), nil)
		}},
		{name: "GET /exec/{id}/json", prove: func(t *testing.T, w wall) {
			var made container.ExecCreateResponse
			id := w.script(t, "sleep 1000")
			does(t, 201, &made, "POST", "/containers/"+id+"/exec", map[string]any{"Cmd": []string{"sleep", "1000"}})
			inspect := func() (e container.ExecInspectResponse) {
				t.Helper()
				does(t, 200, &e, "GET", "/exec/"+made.ID+"/json", nil)
				return e
			}
			if e := inspect(); e.Running || e.ExitCode != nil || e.ContainerID != id || e.ProcessConfig.Entrypoint != "sleep" {
				t.Errorf("before its start: %+v", e)
			}
			does(t, 200, nil, "POST", "/exec/"+made.ID+"/start", map[string]any{"Detach": true})
			if e := inspect(); !e.Running || e.Pid == 0 {
				t.Errorf("while it runs: %+v", e)
			}
			says(t, 404, "No such exec instance: nosuch", "GET", "/exec/nosuch/json", nil)
		}},
	}
}
