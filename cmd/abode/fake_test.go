package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
)

// fake is an engine of one container, enough to test the order of the CLI's
// requests and what it makes of the answers.
type fake struct {
	mu       sync.Mutex
	requests []string // "POST /containers/create", without the version
	created  container.CreateRequest
	started  chan struct{}
	ended    chan int
	kills    chan string

	// What the container does when it starts, with its attached connection:
	// frames for output, what it reads is stdin. Its result is the exit code.
	behave func(conn net.Conn, in io.Reader) int
	// start fails with this message, if not "".
	startError string
	// no image until it was pulled.
	missing bool
	// interrupted, if not nil, is called at the request to attach, which is
	// then not answered until the CLI gives it up.
	interrupted func()
	attached    net.Conn
	input       *bufio.Reader
}

func newFake() *fake {
	return &fake{started: make(chan struct{}), ended: make(chan int, 1), kills: make(chan string, 16)}
}

// serve listens on a unix socket and returns its address.
func (f *fake) serve(t *testing.T) string {
	dir, err := os.MkdirTemp("", "abode") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", dir+"/s")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: f}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return "unix://" + dir + "/s"
}

const fakeID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if rest, ok := strings.CutPrefix(path, "/v1."); ok {
		_, path, _ = strings.Cut(rest, "/")
		path = "/" + path
	}
	path = strings.ReplaceAll(path, fakeID, "ID")
	request := r.Method + " " + path
	f.mu.Lock()
	f.requests = append(f.requests, request)
	f.mu.Unlock()
	switch request {
	case "HEAD /_ping", "GET /_ping":
		w.Header().Set("Api-Version", "1.51")
	case "POST /images/create":
		f.mu.Lock()
		f.missing = false
		f.mu.Unlock()
		fmt.Fprintf(w, `{"status":"Pulling from library/%s","id":"latest"}`+"\n", r.URL.Query().Get("fromImage"))
		fmt.Fprintln(w, `{"status":"Status: Downloaded newer image"}`)
	case "POST /containers/create":
		f.create(w, r)
	case "POST /containers/ID/attach":
		if f.interrupted != nil {
			f.interrupted()
			<-r.Context().Done()
			return
		}
		f.attach(w)
	case "POST /containers/ID/wait":
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		select {
		case code := <-f.ended:
			fmt.Fprintf(w, `{"StatusCode":%d}`, code)
		case <-r.Context().Done():
		}
	case "POST /containers/ID/start":
		f.start(w)
	case "POST /containers/ID/kill":
		f.kills <- r.URL.Query().Get("signal")
		w.WriteHeader(204)
	case "DELETE /containers/ID":
		w.WriteHeader(204)
	default:
		fail(w, 404, "page not found")
	}
}

func fail(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
}

func (f *fake) create(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := json.NewDecoder(r.Body).Decode(&f.created); err != nil {
		fail(w, 400, err.Error())
		return
	}
	if f.missing {
		fail(w, 404, "No such image: "+f.created.Image)
		return
	}
	w.WriteHeader(201)
	fmt.Fprintf(w, `{"Id":%q,"Warnings":[]}`, fakeID)
}

func (f *fake) attach(w http.ResponseWriter) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		fail(w, 500, err.Error())
		return
	}
	f.mu.Lock()
	f.attached, f.input = conn, rw.Reader
	f.mu.Unlock()
	fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
}

func (f *fake) start(w http.ResponseWriter) {
	if f.startError != "" {
		fail(w, 400, f.startError)
		return
	}
	f.mu.Lock()
	conn, in := f.attached, f.input
	f.mu.Unlock()
	w.WriteHeader(204)
	close(f.started)
	go func() {
		code := f.behave(conn, in)
		if conn != nil {
			conn.Close()
		}
		f.ended <- code
	}()
}

func (f *fake) log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.requests...)
}

// say writes to one of the container's streams.
func say(w io.Writer, stream stdcopy.StdType, text string) {
	header := []byte{byte(stream), 0, 0, 0, 0, 0, byte(len(text) >> 8), byte(len(text))}
	_, _ = w.Write(append(header, text...))
}
