package interop

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// docker-compose 1, Debian's, takes an application up, looks at it and takes it
// down.
func TestCompose(t *testing.T) {
	if _, err := exec.LookPath("docker-compose"); err != nil {
		t.Fatalf("%v: run make deps", err)
	}
	for _, isolation := range isolations {
		t.Run(isolation, func(t *testing.T) {
			t.Parallel()
			c := composition{isolation, "compose-" + isolation}
			t.Cleanup(func() { c.run("down", "-v", "-t", "1") })
			c.does(t, "up", "-d")
			for _, want := range []string{c.project + "_web_1", c.project + "_client_1", "Up (healthy)"} {
				if out := c.does(t, "ps"); !strings.Contains(out, want) {
					t.Errorf("ps lacks %q:\n%s", want, out)
				}
			}
			c.until(t, "page of green", "logs", "client")
			if out := c.does(t, "exec", "-T", "web", "sh", "-c", "echo kept > /data/f; echo $COLOUR"); out != "green" {
				t.Errorf("exec says %q", out)
			}
			if out := c.does(t, "port", "web", "80"); !strings.HasPrefix(out, "127.0.0.1:") {
				t.Errorf("the port is %q", out)
			}
			c.does(t, "restart", "-t", "1", "web")
			c.until(t, "Up (healthy)", "ps", "web")
			c.does(t, "up", "-d", "--scale", "client=2")
			if out := c.does(t, "ps", "-q", "client"); len(strings.Fields(out)) != 2 {
				t.Errorf("after scale there are: %q", out)
			}
			if out := call(t, "", "abode", "inspect", "-f", "{{.HostConfig.Isolation}}", c.project+"_client_2").stdout; strings.TrimSpace(out) != isolation {
				t.Errorf("the wall is %q", out)
			}
			c.does(t, "down", "-v", "-t", "1")
			for _, noun := range [][]string{{"ps", "-aq"}, {"network", "ls", "-q"}, {"volume", "ls", "-q"}} {
				args := append(noun, "--filter", "label=com.docker.compose.project="+c.project)
				if out := call(t, "", "abode", args...).stdout; out != "" {
					t.Errorf("%v finds after down: %q", noun, out)
				}
			}
		})
	}
}

// A composition is a project of testdata/compose behind one wall.
type composition struct{ isolation, project string }

func (c composition) command(args ...string) *exec.Cmd {
	cmd := exec.Command("docker-compose", append([]string{"--no-ansi", "-p", c.project, "-f", "testdata/compose/docker-compose.yml"}, args...)...)
	cmd.Env = append(engine.Environ(), "ISOLATION="+c.isolation, "COMPOSE_HTTP_TIMEOUT=180")
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

func (c composition) run(args ...string) { _ = c.command(args...).Run() }

func (c composition) does(t *testing.T, args ...string) string {
	t.Helper()
	r := capture(t, c.command(args...), "")
	if r.code != 0 {
		t.Fatalf("docker-compose %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return strings.TrimSpace(r.stdout)
}

// until repeats a command until its output has what is wanted.
func (c composition) until(t *testing.T, want string, args ...string) {
	t.Helper()
	out := ""
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		if out = c.does(t, args...); strings.Contains(out, want) {
			return
		}
	}
	t.Fatalf("docker-compose %s never says %q:\n%s", strings.Join(args, " "), want, out)
}
