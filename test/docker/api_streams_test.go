package docker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

func streamEndpoints() []feature {
	return []feature{
		{name: "GET /containers/{id}/logs", prove: containersLogs},
		{name: "GET /containers/{id}/stats", prove: containersStats},
		{name: "POST /containers/{id}/resize", prove: func(t *testing.T, w wall) {
			id := w.create(t, map[string]any{"Tty": true}, "sh", "-c", "while :; do stty size >/size; sleep 0.1; done")
			start(t, id)
			does(t, 200, nil, "POST", "/containers/"+id+"/resize"+query("h", "41", "w", "99"), nil)
			eventually(t, "the size", func() bool { return call(t, "", "exec", id, "cat", "/size").stdout == "41 99\n" })
			says(t, 400, `invalid resize height "x": it must be a whole number up to 65535`, "POST", "/containers/"+id+"/resize"+query("h", "x", "w", "1"), nil)
			noContainer(t, "POST", "/containers/{id}/resize"+query("h", "1", "w", "1"), nil)
		}},
		{name: "POST /containers/{id}/attach", prove: containersAttach},
		{name: "GET /containers/{id}/attach/ws", prove: func(t *testing.T, w wall) {
			id := w.create(t, map[string]any{"OpenStdin": true, "StdinOnce": true}, "sh", "-c", "read l; echo got-$l; sleep 1000")
			c, _, err := websocket.Dial(soon(t), "ws://engine/containers/"+id+"/attach/ws?stream=1&stdin=1&stdout=1", &websocket.DialOptions{HTTPClient: plain})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			start(t, id)
			if err := c.Write(soon(t), websocket.MessageText, []byte("it\n")); err != nil {
				t.Fatal(err)
			}
			_, p, err := c.Read(soon(t))
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "the output", string(p), "got-it\n")
		}},
	}
}

// framed reads a multiplexed stream to its end.
func framed(t testing.TB, r io.Reader) string {
	t.Helper()
	var o, e bytes.Buffer
	if _, err := stdcopy.StdCopy(&o, &e, r); err != nil {
		t.Fatal(err)
	}
	return o.String() + "|" + e.String()
}

func containersLogs(t *testing.T, w wall) {
	id := w.script(t, "echo one; echo err >&2; sleep 0.2; echo two; exec sleep 1000")
	logs := func(id string, pairs ...string) string {
		t.Helper()
		a := does(t, 200, nil, "GET", "/containers/"+id+"/logs"+query(pairs...), nil)
		equal(t, "the media type", a.header.Get("Content-Type"), "application/vnd.docker.multiplexed-stream")
		return framed(t, strings.NewReader(a.body))
	}
	eventually(t, "all of the output", func() bool { return logs(id, "stdout", "1", "stderr", "1") == "one\ntwo\n|err\n" })
	equal(t, "stderr", logs(id, "stderr", "1"), "|err\n")
	equal(t, "the last line", logs(id, "stdout", "1", "tail", "1"), "two\n|")
	stamped := strings.Fields(logs(id, "stdout", "1", "timestamps", "1"))
	first, err := time.Parse(time.RFC3339Nano, stamped[0])
	if err != nil || len(stamped) != 5 {
		t.Fatalf("with times: %v (%v)", stamped, err)
	}
	seconds := func(at time.Time) string { return fmt.Sprintf("%d.%09d", at.Unix(), at.Nanosecond()) }
	equal(t, "since", logs(id, "stdout", "1", "since", seconds(first.Add(time.Nanosecond))), "two\n|")
	equal(t, "until", logs(id, "stdout", "1", "until", seconds(first)), "one\n|")

	resp := request(t, "GET", "/containers/"+id+"/logs"+query("stdout", "1", "follow", "1"), nil)
	defer resp.Body.Close()
	does(t, 204, nil, "POST", "/containers/"+id+"/kill", nil)
	equal(t, "what is followed to the end", framed(t, resp.Body), "one\ntwo\n|")
	says(t, 400, "Bad parameters: you must choose at least one stream", "GET", "/containers/"+id+"/logs", nil)
	noContainer(t, "GET", "/containers/{id}/logs"+query("stdout", "1"), nil)
}

func containersStats(t *testing.T, w wall) {
	path := "/containers/" + w.bench(t).id + "/stats"
	resp := request(t, "GET", path, nil)
	dec := json.NewDecoder(resp.Body)
	var first, second container.StatsResponse
	for _, s := range []*container.StatsResponse{&first, &second} {
		if err := dec.Decode(s); err != nil {
			t.Fatal(err)
		}
	}
	resp.Body.Close()
	if second.PreRead != first.Read || second.MemoryStats.Usage == 0 || second.CPUStats.CPUUsage.TotalUsage == 0 || second.PidsStats.Current == 0 {
		t.Errorf("of a stream: %+v", second)
	}
	var one container.StatsResponse
	does(t, 200, &one, "GET", path+query("stream", "0"), nil)
	equal(t, "whether there is a sample before", one.PreRead.IsZero(), false)
	one = container.StatsResponse{}
	does(t, 200, &one, "GET", path+query("stream", "0", "one-shot", "1"), nil)
	equal(t, "whether there is none", one.PreRead.IsZero() && one.MemoryStats.Usage > 0, true)
	says(t, 400, "cannot have stream=true and one-shot=true", "GET", path+query("stream", "1", "one-shot", "1"), nil)
	noContainer(t, "GET", "/containers/{id}/stats", nil)
}

func containersAttach(t *testing.T, w wall) {
	c := sdk(t)
	id := w.create(t, map[string]any{"OpenStdin": true, "StdinOnce": true, "AttachStdin": true}, "sh", "-c", "cat; echo err >&2")
	a, err := c.ContainerAttach(soon(t), id, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	start(t, id)
	io.WriteString(a.Conn, "sent\n")
	a.CloseWrite()
	equal(t, "the streams", framed(t, a.Reader), "sent\n|err\n")

	// Of old, without an upgrade.
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /containers/%s/attach?logs=1&stdout=1 HTTP/1.1\r\nHost: engine\r\n\r\n", id)
	b, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(b), "\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 200 OK") || !strings.Contains(head, "application/vnd.docker.multiplexed-stream") {
		t.Errorf("the header is %q", head)
	}
	equal(t, "the logs", framed(t, strings.NewReader(body)), "sent\n|")
	noContainer(t, "POST", "/containers/{id}/attach", nil)
	says(t, 400, "Invalid detach keys: Unknown character: 'nosuch'", "POST", "/containers/"+id+"/attach"+query("detachKeys", "nosuch"), nil)
}
