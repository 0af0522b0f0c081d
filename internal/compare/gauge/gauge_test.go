package gauge

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// talk asks a gauge that serves in this process.
func talk(t *testing.T, dir string) func(question string) Reply {
	in, questions := io.Pipe()
	answers, out := io.Pipe()
	done := make(chan error)
	go func() { done <- Serve(dir, in, out) }()
	t.Cleanup(func() {
		questions.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("it leaves %v", left)
		}
	})
	lines := bufio.NewReader(answers)
	return func(question string) (r Reply) {
		t.Helper()
		fmt.Fprintln(questions, question)
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func TestDisk(t *testing.T) {
	ask := talk(t, t.TempDir())
	for _, q := range []string{Read, Random, Sync} {
		if r := ask(q); r.Error != "nothing was written" {
			t.Errorf("%s of nothing: %+v", q, r)
		}
	}
	for range 2 {
		for _, q := range []string{Write, Read, Random, Sync} {
			if r := ask(q); r.Error != "" || r.Value <= 0 {
				t.Errorf("%s: %+v", q, r)
			}
		}
	}
}

func TestNoDisk(t *testing.T) {
	in := strings.NewReader("write\nread\nnonsense\n\nfiles /nonexistent\nlisten short\n")
	var out strings.Builder
	if err := Serve("/nonexistent", in, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d answers: %s", len(lines), out.String())
	}
	for _, line := range lines {
		if !strings.Contains(line, `"error":"`) {
			t.Errorf("no error: %s", line)
		}
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	ask := talk(t, t.TempDir())
	for name, text := range map[string]string{"a": "one\n", "b": "<two>\x00\n", "big": strings.Repeat("x", MostReply)} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r := ask(Files + " " + dir + "/a " + dir + "/b"); r.Text != "one\n<two>\x00\n" {
		t.Errorf("%+v", r)
	}
	if r := ask(Files + " " + dir + "/big"); r.Error == "" {
		t.Errorf("a long answer: %d characters", len(r.Text))
	}
}

func TestNetwork(t *testing.T) {
	secret := strings.Repeat("s", SecretLength)
	r := talk(t, t.TempDir())(Listen + " " + secret)
	if r.Error != "" || r.Port == 0 {
		t.Fatalf("%+v", r)
	}
	p := Peer{fmt.Sprint("127.0.0.1:", r.Port), secret}
	for name, measure := range map[string]func(context.Context) (float64, error){"in": p.In, "out": p.Out, "round trip": p.RoundTrip} {
		if v, err := measure(t.Context()); err != nil || v <= 0 {
			t.Errorf("%s: %v %v", name, v, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.RoundTrip(ended); err == nil {
		t.Error("it goes on when it should end")
	}
	p.Secret = strings.Repeat("x", SecretLength)
	for name, measure := range map[string]func(context.Context) (float64, error){"in": p.In, "out": p.Out, "round trip": p.RoundTrip} {
		if v, err := measure(t.Context()); err == nil {
			t.Errorf("%s without the secret: %v", name, v)
		}
	}
}
