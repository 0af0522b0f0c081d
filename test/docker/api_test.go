package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"go.yaml.in/yaml/v3"
)

// TestAPI proves every endpoint that the API's definition has.
func TestAPI(t *testing.T) {
	var features []feature
	for _, list := range [][]feature{
		containerEndpoints(), streamEndpoints(), fileEndpoints(), execEndpoints(), imageEndpoints(), registryEndpoints(),
		volumeEndpoints(), networkEndpoints(), systemEndpoints(), refusedEndpoints(),
	} {
		features = append(features, list...)
	}
	complete(t, endpoints(t), features, 2)
	t.Run("endpoints", func(t *testing.T) { prove(t, features) })
	checkPage(t, "endpoints", "endpoint", features)
}

// endpoints are those of the definition, as "GET /containers/json".
func endpoints(t *testing.T) []string {
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/moby/moby/api")
	cmd.Dir = checkout
	dir, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(strings.TrimSpace(string(dir)) + "/swagger.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var definition struct {
		Paths map[string]map[string]any
	}
	if err := yaml.Unmarshal(b, &definition); err != nil {
		t.Fatal(err)
	}
	var list []string
	for path, methods := range definition.Paths {
		for m := range methods {
			list = append(list, strings.ToUpper(m)+" "+path)
		}
	}
	if len(list) < 100 {
		t.Fatalf("the definition has %d endpoints: %v", len(list), list)
	}
	return list
}

// answer is a response.
type answer struct {
	status int
	header http.Header
	body   string
}

// plain asks without any library that knows Docker.
var plain = &http.Client{Transport: &http.Transport{
	DialContext:       func(context.Context, string, string) (net.Conn, error) { return dial() },
	DisableKeepAlives: true,
}}

func dial() (net.Conn, error) { return net.Dial("unix", strings.TrimPrefix(engine.Host, "unix://")) }

// request sends body, if there is one, as JSON; a reader goes as it is.
func request(t testing.TB, method, path string, body any) *http.Response {
	t.Helper()
	var r io.Reader
	kind := ""
	switch b := body.(type) {
	case nil:
	case io.Reader:
		r, kind = b, "application/x-tar"
	default:
		p, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		r, kind = bytes.NewReader(p), "application/json"
	}
	// Not the test's context: what cleans up asks too.
	req, err := http.NewRequestWithContext(context.Background(), method, "http://engine"+path, r)
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := plain.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func ask(t testing.TB, method, path string, body any) answer {
	t.Helper()
	resp := request(t, method, path, body)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v after %q", method, path, err, b)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// says proves an error: its status, and {"message": words} as its body.
func says(t testing.TB, status int, words, method, path string, body any) {
	t.Helper()
	a := ask(t, method, path, body)
	var e struct{ Message string }
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s: no error of Docker's form: %q (%s)", method, path, a.body, a.header.Get("Content-Type"))
	}
	if a.status != status || e.Message != words {
		t.Errorf("%s %s: %d %q\nwant %d %q", method, path, a.status, e.Message, status, words)
	}
}

// does is ask for what must answer with the status; v, if there is one, gets its JSON.
func does(t testing.TB, status int, v any, method, path string, body any) answer {
	t.Helper()
	a := ask(t, method, path, body)
	if a.status != status {
		t.Fatalf("%s %s: %d %s, want %d", method, path, a.status, a.body, status)
	}
	if v != nil {
		read(t, a.body, v)
	}
	return a
}

// sdk is the Go client.
func sdk(t testing.TB, opts ...client.Opt) *client.Client {
	t.Helper()
	c, err := client.New(append([]client.Opt{client.WithHost(engine.Host)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// query encodes parameters: pairs of a name and a value.
func query(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return "?" + v.Encode()
}

// filter is the parameter of one term.
func filter(term string, values ...string) string {
	p, _ := json.Marshal(map[string][]string{term: values})
	return query("filters", string(p))
}

// create makes a container, which goes with the test.
func (w wall) create(t testing.TB, cfg map[string]any, command ...string) (id string) {
	t.Helper()
	body := map[string]any{"Image": "busybox", "Cmd": command}
	host := map[string]any{"Isolation": string(w)}
	for k, v := range cfg {
		if h, ok := v.(map[string]any); ok && k == "HostConfig" {
			h["Isolation"] = string(w)
			host = h
			continue
		}
		body[k] = v
	}
	body["HostConfig"] = host
	var made container.CreateResponse
	does(t, 201, &made, "POST", "/containers/create"+query("name", w.name(t)), body)
	return made.ID
}

func start(t testing.TB, id string) {
	t.Helper()
	does(t, 204, nil, "POST", "/containers/"+id+"/start", nil)
}

// script creates and starts a container of a shell script.
func (w wall) script(t testing.TB, script string) (id string) {
	t.Helper()
	id = w.create(t, nil, "sh", "-c", script)
	start(t, id)
	return id
}

func state(t testing.TB, id string) *container.State {
	t.Helper()
	var c container.InspectResponse
	does(t, 200, &c, "GET", "/containers/"+id+"/json", nil)
	return c.State
}

// ended waits for a container's end and returns its exit code.
func ended(t testing.TB, id string) int {
	t.Helper()
	var r container.WaitResponse
	does(t, 200, &r, "POST", "/containers/"+id+"/wait", nil)
	return int(r.StatusCode)
}

// noContainer proves the answer for a container that there is not.
func noContainer(t testing.TB, method, path string, body any) {
	t.Helper()
	says(t, 404, "No such container: nosuch", method, strings.Replace(path, "{id}", "nosuch", 1), body)
}

// A bench is a container that runs as long as the tests, for those that leave
// it as it is.
type bench struct {
	sync.Once
	id, name, volume string
}

var benches = map[wall]*bench{"container": {}, "vm": {}}

func (w wall) bench(t testing.TB) *bench {
	t.Helper()
	b := benches[w]
	b.Do(func() {
		b.name, b.volume = string(w)+"-bench", string(w)+"-kept"
		b.id = w.run(t, "--detach", "--name", b.name, "--label", "bench="+string(w), "--annotation", "of="+string(w), "--volume", b.volume+":/kept",
			"--publish", "127.0.0.1::8080", "--expose", "9090", "busybox",
			"sh", "-c", "echo out; echo err >&2; while :; do sleep 1; done")
	})
	if b.id == "" {
		t.Fatal("the container for all of these does not run")
	}
	return b
}

// soon bounds what would wait for ever.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
