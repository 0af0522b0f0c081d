package clients

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/exec"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/abode-run/abode/test/harness"
)

var engine *harness.Engine

func TestMain(m *testing.M) {
	os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true") // its image is a registry's
	os.Exit(harness.Main(m, &engine))
}

// patience is for guests without hardware acceleration on a busy machine.
const patience = 3 * time.Minute

// A web server in a container or a virtual machine, as tests of other projects
// use one.
func TestTestcontainers(t *testing.T) {
	t.Setenv("DOCKER_HOST", engine.Host)
	for _, isolation := range []container.Isolation{"container", "vm"} {
		t.Run(string(isolation), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c, err := testcontainers.Run(ctx, "busybox:latest",
				testcontainers.WithCmd("sh", "-c", "echo serving; exec httpd -f -p 8080 -h /www"),
				testcontainers.WithExposedPorts("8080/tcp"),
				testcontainers.WithEnv(map[string]string{"COLOUR": "green"}),
				testcontainers.WithFiles(testcontainers.ContainerFile{Reader: strings.NewReader("hello"), ContainerFilePath: "/www/index.html", FileMode: 0o644}),
				testcontainers.WithHostConfigModifier(func(h *container.HostConfig) { h.Isolation = isolation }),
				testcontainers.WithWaitStrategyAndDeadline(patience, wait.ForLog("serving"), wait.ForListeningPort("8080/tcp").SkipInternalCheck(), wait.ForHTTP("/").WithPort("8080/tcp")),
			)
			testcontainers.CleanupContainer(t, c)
			if err != nil {
				t.Fatal(err)
			}
			url, err := c.PortEndpoint(ctx, "8080/tcp", "http")
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "hello" {
				t.Errorf("it serves %q (%v)", b, err)
			}
			code, out, err := c.Exec(ctx, []string{"sh", "-c", "echo $COLOUR; exit 3"}, exec.Multiplexed())
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(out); err != nil || code != 3 || string(b) != "green\n" {
				t.Errorf("exec: code %d, output %q (%v)", code, b, err)
			}
			file, err := c.CopyFileFromContainer(ctx, "/www/index.html")
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if b, err := io.ReadAll(file); err != nil || string(b) != "hello" {
				t.Errorf("the file has %q (%v)", b, err)
			}
			inspected, err := c.Inspect(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if got := inspected.HostConfig.Isolation; got != isolation {
				t.Errorf("the wall is %q", got)
			}
			if err := c.Stop(ctx, nil); err != nil {
				t.Error(err)
			}
			if state, err := c.State(ctx); err != nil || state.Running {
				t.Errorf("after stop: %+v %v", state, err)
			}
		})
	}
}
