package interop

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/abode-run/abode/test/harness"
)

const shop = "../../examples/shop/"

// The example's application, as it is and with every service a virtual machine:
// nginx, a web application, PostgreSQL and Redis, on two networks.
func TestShop(t *testing.T) {
	tar, err := harness.Asset("debian-apps.tar")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Try("import", tar, "shop"); err != nil {
		t.Fatal(err)
	}
	forget(t, "shop")
	for _, composer := range composers(t) {
		for _, walls := range []struct {
			name  string
			files []string
			vms   []string
		}{
			{"mixed", []string{shop + "compose.yaml"}, []string{"web"}},
			{"vm", []string{shop + "compose.yaml", shop + "compose.vm.yaml"}, []string{"proxy", "web", "db", "cache"}},
		} {
			t.Run(composer.name+"/"+walls.name, func(t *testing.T) {
				s := application{composition{composer, "shop-" + walls.name, walls.files, []string{"SHOP_PORT="}}}
				t.Cleanup(func() {
					if t.Failed() {
						t.Log(capture(t, s.command("logs"), "").stdout)
					}
					s.run("down", "-v", "-t", "1")
				})
				s.does(t, "up", "-d")
				s.test(t, walls.vms)
				s.gone(t)
			})
		}
	}
}

// An application is the example's, and runs.
type application struct{ composition }

// A page is what the shop answers.
type page struct {
	Orders   []string
	Visits   int
	ServedBy string `json:"served by"`
	Order    int
}

func (s application) test(t *testing.T, vms []string) {
	services := []string{"proxy", "web", "db", "cache"}
	list := s.does(t, "ps")
	for _, service := range services {
		state := `Up.*\(healthy\)`
		if service == "proxy" {
			state = "Up" // it has no check
		}
		if !regexp.MustCompile(`(?m)^` + s.container(service, "1") + ` .*` + state).MatchString(list) {
			t.Errorf("%s is not as it should be:\n%s", service, list)
		}
		want := "container"
		if slices.Contains(vms, service) {
			want = "vm"
		}
		if got := isolationOf(t, s.container(service, "1")); got != want {
			t.Errorf("the wall of %s is %q", service, got)
		}
	}
	s.opens(t)
	// PostgreSQL has what was ordered, Redis has counted.
	if p := s.ask(t, http.StatusCreated, url.Values{"item": {"tea"}}); p.Order != 1 {
		t.Errorf("the first order is %+v", p)
	}
	if p := s.ask(t, http.StatusOK, nil); !slices.Equal(p.Orders, []string{"tea"}) || p.Visits != 1 {
		t.Errorf("the first visit is %+v", p)
	}
	if out := s.does(t, "exec", "-T", "db", "psql", "-h", "/tmp", "-U", "shop", "-Atc", "SELECT item FROM orders", "postgres"); out != "tea" {
		t.Errorf("the database has %q", out)
	}
	if out := s.does(t, "exec", "-T", "cache", "redis-cli", "get", "visits"); out != "1" {
		t.Errorf("the cache has counted %q", out)
	}
	s.separate(t)
	s.follow(t)

	s.does(t, "restart", "-t", "60", "db", "cache")
	s.eventually(t, "/", "after a restart the data is there", func(p page) bool {
		return slices.Equal(p.Orders, []string{"tea"}) && p.Visits > 1
	})
	s.does(t, "up", "-d", "--scale", "web=2")
	seen := map[string]bool{}
	s.eventually(t, "/", "both of two answer", func(p page) bool {
		seen[p.ServedBy] = true
		return len(seen) == 2
	})
}

// separate tests that the proxy does not see the database, and that the
// database does not see the world.
func (s application) separate(t *testing.T) {
	t.Helper()
	const name = `import socket, sys; socket.gethostbyname(sys.argv[1])`
	if out := capture(t, s.command("exec", "-T", "proxy", "python3", "-c", name, "web"), ""); out.code != 0 {
		t.Errorf("the proxy does not find the application: %s", out.stderr)
	}
	if out := capture(t, s.command("exec", "-T", "proxy", "python3", "-c", name, "db"), ""); out.code != 1 || !strings.Contains(out.stderr, "gaierror") {
		t.Errorf("the proxy finds the database: code %d %s", out.code, out.stderr)
	}
	if out := s.does(t, "exec", "-T", "db", "cat", "/proc/net/route"); strings.Contains(out, "eth0\t00000000\t") { // the route to 0.0.0.0
		t.Errorf("the database has a way out:\n%s", out)
	}
}

// follow tests logs -f: it tells what is new, and leaves nothing when it is
// interrupted.
func (s application) follow(t *testing.T) {
	t.Helper()
	id := strings.TrimSpace(call(t, "", "abode", "inspect", "-f", "{{.Id}}", s.container("web", "1")).stdout)
	before := readers(t, id)
	cmd := s.command("logs", "-f", "web")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal interrupts the whole group
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	interrupt := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	defer time.AfterFunc(5*time.Minute, interrupt).Stop() // a follower that says nothing
	lines := bufio.NewScanner(out)
	says := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("logs -f never says %q", want)
	}
	says("the shop is open")
	s.ask(t, http.StatusBadRequest, url.Values{"colour": {"green"}})
	says(`"POST / HTTP/1.0" 400`)
	if got := readers(t, id); got <= before {
		t.Errorf("%d have the log open while it is followed, %d before", got, before)
	}
	interrupt()
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	for deadline := time.Now().Add(time.Minute); readers(t, id) > before; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the log is still open for who has hung up")
		}
	}
}

// readers counts who has a container's log open.
func readers(t *testing.T, id string) (n int) {
	t.Helper()
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && strings.Contains(target, id) && strings.HasPrefix(filepath.Base(target), "log") {
			n++
		}
	}
	return n
}

// opens waits for nginx, whose start nobody waits for.
func (s application) opens(t *testing.T) {
	t.Helper()
	s.eventually(t, "/health", "the shop is open", func(page) bool { return true })
}

// ask sends an order, or none, through the proxy, which must answer with the
// status.
func (s application) ask(t *testing.T, status int, order url.Values) page {
	t.Helper()
	p, got, err := s.request(t, "/", order)
	if err != nil || got != status {
		t.Fatalf("the shop answers %d (%v), not %d", got, err, status)
	}
	return p
}

// eventually asks until a page is as it should be.
func (s application) eventually(t *testing.T, path, what string, is func(page) bool) {
	t.Helper()
	var last string
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
		p, status, err := s.request(t, path, nil)
		if err == nil && status == http.StatusOK && is(p) {
			return
		}
		last = fmt.Sprint(p, status, err)
	}
	t.Fatalf("never: %s; last it was %s", what, last)
}

var visitor = http.Client{Timeout: time.Minute}

func (s application) request(t *testing.T, path string, order url.Values) (p page, status int, err error) {
	t.Helper()
	shop := "http://" + s.does(t, "port", "proxy", "80") + path
	var resp *http.Response
	if order == nil {
		resp, err = visitor.Get(shop)
	} else {
		resp, err = visitor.PostForm(shop, order)
	}
	if err != nil {
		return p, 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return p, resp.StatusCode, errors.Join(err, json.Unmarshal(b, &p))
}
