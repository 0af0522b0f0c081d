package interop

import (
	"strings"
	"testing"
)

// docker compose, 2 and 1.29, takes an application up, looks at it and takes it
// down.
func TestCompose(t *testing.T) {
	for _, composer := range composers(t) {
		for _, isolation := range isolations {
			t.Run(composer.name+"/"+isolation, func(t *testing.T) {
				t.Parallel()
				c := composition{composer, "compose-" + composer.name + "-" + isolation, []string{"testdata/compose/docker-compose.yml"}, []string{"ISOLATION=" + isolation}}
				t.Cleanup(func() { c.run("down", "-v", "-t", "1") })
				c.does(t, "up", "-d")
				out := c.does(t, "ps")
				for _, want := range []string{c.container("web", "1"), c.container("client", "1"), "(healthy)"} {
					if !strings.Contains(out, want) {
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
				c.until(t, "(healthy)", "ps", "web")
				c.does(t, "up", "-d", "--scale", "client=2")
				if out := c.does(t, "ps", "-q", "client"); len(strings.Fields(out)) != 2 {
					t.Errorf("after scale there are: %q", out)
				}
				if got := isolationOf(t, c.container("client", "2")); got != isolation {
					t.Errorf("the wall is %q", got)
				}
				c.gone(t)
			})
		}
	}
}
