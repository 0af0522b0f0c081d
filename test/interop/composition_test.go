package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/abode-run/abode/test/harness"
)

// A composer is a command that runs compose files.
type composer struct {
	name      string
	argv      []string
	env       []string
	separator string // in the names of containers: shop-web-1
}

// composers are docker compose 2, a plugin of the docker command, and 1.29,
// Debian's docker-compose.
func composers(t *testing.T) []composer {
	t.Helper()
	plugin, err := harness.Asset("docker-compose-v2*")
	if err != nil {
		t.Fatal(err)
	}
	if plugin, err = filepath.Abs(plugin); err != nil {
		t.Fatal(err)
	}
	config := t.TempDir()
	if err := os.Mkdir(filepath.Join(config, "cli-plugins"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(plugin, filepath.Join(config, "cli-plugins", "docker-compose")); err != nil {
		t.Fatal(err)
	}
	return []composer{
		{"v2", []string{need(t, "docker"), "compose", "--ansi", "never"}, []string{"DOCKER_CONFIG=" + config, "OTEL_EXPORTER_OTLP_ENDPOINT="}, "-"},
		{"v1", []string{need(t, "docker-compose"), "--ansi", "never"}, []string{"COMPOSE_HTTP_TIMEOUT=600"}, "_"},
	}
}

// A composition is a project, made by a composer of compose files.
type composition struct {
	composer
	project string
	files   []string
	env     []string
}

func (c composition) command(args ...string) *exec.Cmd {
	argv := append(c.argv[1:len(c.argv):len(c.argv)], "-p", c.project)
	for _, f := range c.files {
		argv = append(argv, "-f", f)
	}
	cmd := exec.Command(c.argv[0], append(argv, args...)...)
	cmd.Env = append(append(engine.Environ(), c.composer.env...), c.env...)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// container is the name of a service's container.
func (c composition) container(service, number string) string {
	return strings.Join([]string{c.project, service, number}, c.separator)
}

func (c composition) run(args ...string) { _ = c.command(args...).Run() }

func (c composition) does(t *testing.T, args ...string) string {
	t.Helper()
	r := capture(t, c.command(args...), "")
	if r.code != 0 {
		t.Fatalf("compose %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return strings.TrimSpace(r.stdout)
}

// until repeats a command until its output has what is wanted.
func (c composition) until(t *testing.T, want string, args ...string) {
	t.Helper()
	out := ""
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		if out = c.does(t, args...); strings.Contains(out, want) {
			return
		}
	}
	t.Fatalf("compose %s never says %q:\n%s", strings.Join(args, " "), want, out)
}

// gone takes the project down, and finds nothing of it.
func (c composition) gone(t *testing.T) {
	t.Helper()
	c.does(t, "down", "-v", "-t", "5")
	for _, noun := range [][]string{{"ps", "-aq"}, {"network", "ls", "-q"}, {"volume", "ls", "-q"}} {
		args := append(noun, "--filter", "label=com.docker.compose.project="+c.project)
		if out := call(t, "", "abode", args...).stdout; out != "" {
			t.Errorf("%v finds after down: %q", noun, out)
		}
	}
}

// isolation is the wall of a container.
func isolationOf(t *testing.T, container string) string {
	t.Helper()
	return strings.TrimSpace(call(t, "", "abode", "inspect", "-f", "{{.HostConfig.Isolation}}", container).stdout)
}
