package interop

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// A registry is a docker-registry of one test, on a free port of the loopback.
type registry struct {
	addr string // localhost:PORT
	dir  string
}

// user and password are those of a private registry; passwordHash is the
// password's bcrypt hash, as htpasswd -B writes it.
const (
	user         = "ann"
	password     = "secret"
	passwordHash = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"
)

// startRegistry starts a registry, which ends with the test. A private one
// serves those who log in only.
func startRegistry(t testing.TB, private bool) *registry {
	t.Helper()
	bin := need(t, "docker-registry", "registry")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	r := &registry{addr: fmt.Sprintf("localhost:%d", port), dir: t.TempDir()}
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"+
		"storage:\n  filesystem: {rootdirectory: %s}\nhttp: {addr: \"127.0.0.1:%d\"}\n", r.dir, port)
	if private {
		file := filepath.Join(r.dir, "htpasswd")
		writeFile(t, file, []byte(user+":"+passwordHash+"\n"))
		config += fmt.Sprintf("auth:\n  htpasswd: {realm: interop, path: %s}\n", file)
	}
	file := filepath.Join(r.dir, "config.yml")
	writeFile(t, file, []byte(config))
	var out bytes.Buffer
	cmd := exec.Command(bin, "serve", file)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for range 200 {
		if resp, err := http.Get("http://" + r.addr + "/v2/"); err == nil {
			resp.Body.Close()
			return r
		}
		time.Sleep(25 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	t.Fatalf("docker-registry does not answer:\n%s", out.Bytes())
	return nil
}

// push copies what skopeo finds at source into the registry, with all its
// platforms, and returns its name there and the digest of what has it.
func (r *registry) push(t testing.TB, source, name string, flags ...string) (ref string, d digest.Digest) {
	t.Helper()
	ref = r.addr + "/" + name
	file := filepath.Join(t.TempDir(), "digest")
	args := append([]string{"copy", "--all", "--dest-tls-verify=false", "--digestfile", file}, flags...)
	skopeo(t, append(args, source, "docker://"+ref)...)
	d, err := digest.Parse(strings.TrimSpace(readFile(t, file)))
	if err != nil {
		t.Fatal(err)
	}
	return ref, d
}

// blob is the file in which the registry keeps a blob.
func (r *registry) blob(d digest.Digest) string {
	return filepath.Join(r.dir, "docker/registry/v2/blobs", d.Algorithm().String(), d.Encoded()[:2], d.Encoded(), "data")
}

// repository is a reference without its tag.
func repository(ref string) string { return ref[:strings.LastIndex(ref, ":")] }
