package progress

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/jsonstream"
	"golang.org/x/sys/unix"
)

const pull = `{"status":"Pulling from library/nginx","id":"latest"}
{"status":"Pulling fs layer","progressDetail":{},"id":"aaa"}
{"status":"Downloading","progressDetail":{"current":1000000,"total":4000000},"id":"aaa"}
{"status":"Already exists","progressDetail":{},"id":"bbb"}
{"status":"Download complete","progressDetail":{},"id":"aaa"}
{"status":"Pull complete","progressDetail":{},"id":"aaa"}
{"status":"Digest: sha256:123"}
{"status":"Status: Downloaded newer image for nginx:latest"}
`

func TestPlain(t *testing.T) {
	var out bytes.Buffer
	if err := Show(Messages(strings.NewReader(pull)), &out, nil); err != nil {
		t.Fatal(err)
	}
	want := "latest: Pulling from library/nginx\naaa: Pulling fs layer\nbbb: Already exists\naaa: Download complete\naaa: Pull complete\nDigest: sha256:123\nStatus: Downloaded newer image for nginx:latest\n"
	if out.String() != want {
		t.Errorf("it prints\n%s\nwant\n%s", out.String(), want)
	}
}

func TestStreamOfLoad(t *testing.T) {
	var out bytes.Buffer
	var aux string
	err := Show(Messages(strings.NewReader(`{"stream":"Loaded image: a:1\n"}{"aux":{"ID":"x"}}{"stream":"Loaded image: b:1\n"}`)), &out, func(m json.RawMessage) { aux = string(m) })
	if err != nil || out.String() != "Loaded image: a:1\nLoaded image: b:1\n" || aux != `{"ID":"x"}` {
		t.Errorf("it prints %q, %v; aux is %s", out.String(), err, aux)
	}
}

func TestErrors(t *testing.T) {
	for stream, want := range map[string]string{
		`{"status":"x"}{"errorDetail":{"message":"no such manifest"},"error":"no such manifest"}`: "no such manifest",
		`{"status":"x"}{"sta`: "cannot read the engine's progress: unexpected EOF",
		`<html>`:              "cannot read the engine's progress: invalid character",
	} {
		if err := Show(Messages(strings.NewReader(stream)), io.Discard, nil); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: the error is %v, want %q", stream, err, want)
		}
	}
}

// On a terminal each layer has a line that changes, and what is said of the
// whole stands below; the end comes also after an error.
func TestBars(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile("/dev/pts/"+itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 120}); err != nil {
		t.Fatal(err)
	}
	read := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(master) // ends with an error once the last tty is closed
		read <- string(b)
	}()
	if err := Show(Messages(strings.NewReader(pull)), tty, nil); err != nil {
		t.Fatal(err)
	}
	err = Show(func(yield func(jsonstream.Message, error) bool) {
		for m, err := range Messages(strings.NewReader(`{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"ccc"}{"errorDetail":{"message":"boom"}}`)) {
			if !yield(m, err) {
				return
			}
		}
	}, tty, nil)
	if err == nil || err.Error() != "boom" {
		t.Errorf("the error is %v", err)
	}
	tty.Close()
	out := <-read
	for _, want := range []string{"latest: Pulling from library/nginx", "aaa: Pull complete", "bbb: Already exists", "ccc: Downloading", "[", "Status: Downloaded newer image for nginx:latest"} {
		if !strings.Contains(out, want) {
			t.Errorf("it lacks %q: %q", want, out)
		}
	}
	if strings.Index(out, "Digest: sha256:123") < strings.Index(out, "aaa: Pull complete") {
		t.Errorf("the digest stands above the layers: %q", out)
	}
}

func itoa(n int) string {
	b, _ := json.Marshal(n)
	return string(b)
}
